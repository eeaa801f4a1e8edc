package main

import (
	"fmt"
	"net/http"
	"os"
)

var version = "none"

func greeting(name string) string { return "hello " + name + " from " + version }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--check" {
		fmt.Println(greeting("check"))
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, greeting(r.URL.Path))
	})
	http.ListenAndServe(":8080", nil)
}
