Gem::Specification.new do |spec|
  spec.name = 'hello'
  spec.version = '1.0.0'
  spec.summary = 'Greets'
  spec.authors = ['somebody']
  spec.files = ['lib/hello.rb']
end
