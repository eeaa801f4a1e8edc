<?php
require __DIR__ . '/words.php';
echo greet(getenv('APP_ENV')), PHP_EOL;
