#!/bin/sh
echo "job of $(id -u)"
