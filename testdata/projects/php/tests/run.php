<?php
require __DIR__ . '/../src/words.php';
assert(greet('a') === 'hello a');
