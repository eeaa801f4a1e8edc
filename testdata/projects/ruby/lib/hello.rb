module Hello
  def self.to(name)
    "hello #{name}"
  end
end
