module.exports = text => text.padStart(8, '.')
