package main

import "testing"

func TestGreeting(t *testing.T) {
	if greeting("x") != "hello x from none" {
		t.Fatal(greeting("x"))
	}
}
