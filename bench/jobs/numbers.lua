-- Maps over numbers and adds up the results: the cost of an item that does nothing.
local COUNT = 1000000

return {
  items = function()
    local i = 0
    return function()
      i = i + 1
      return i <= COUNT and i or nil
    end
  end,
  map = function(x) return x end,
  init = 0,
  reduce = function(sum, x) return sum + x end,
}
