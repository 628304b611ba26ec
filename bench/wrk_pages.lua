-- Makes wrk request the pages of pages.lua in turn; the argument is their number.
local count, at = 1, 0

function init(args)
  count = tonumber(args[1])
end

function request()
  at = (at + 1) % count
  return wrk.format("GET", ("/page%04d.bin"):format(at))
end
