echo "hello $1" > /greeting
