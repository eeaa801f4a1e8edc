interface Greeting { name: string }

const greet = ({ name }: Greeting): string => `hello ${name}`

console.log(greet({ name: 'types' }))
