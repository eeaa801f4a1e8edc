const test = require('node:test')
const assert = require('node:assert')

test('pads', () => assert.strictEqual(require('pad')('a'), '.......a'))
