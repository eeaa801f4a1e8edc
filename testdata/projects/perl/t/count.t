use Test::More tests => 1;
use Count;
is(Count::words('a', 'b'), 2);
