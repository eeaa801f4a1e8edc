import os
import sys


def main():
    print("python", sys.argv[1], os.getuid())
