fn main() {
    println!("{}", words::greet("rust"));
}
