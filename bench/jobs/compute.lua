-- Exercises calls, tables, strings and arithmetic for about a second; returns its CPU seconds.
local function fib(n)
  return n < 2 and n or fib(n - 1) + fib(n - 2)
end

return {
  map = function()
    local start = os.clock()
    local sum, words = fib(30), {}
    for i = 1, 2000000 do
      local word = ("%d"):format(i % 1000)
      words[word] = (words[word] or 0) + 1
      sum = sum + words[word] * 0.5
    end
    return os.clock() - start
  end,
}
