import words

print(words.greet("web"))
