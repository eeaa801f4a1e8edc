import idna

print(idna.encode("grün.example").decode())
