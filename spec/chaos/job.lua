-- SPDX-License-Identifier: MIT
-- Each item waits and computes a little; for every EVERY-th the web server counts how often it
-- began. (run.lua replaces the words in capitals.)

local fleet, http = require("fleet"), require("fleet.http")

return {
  map = function(line)
    local n = math.tointeger(tonumber(line))
    if n % tonumber("EVERY") == 0 then
      local page, err = http.get("URL/count/NAME." .. line)
      if not page then return nil, err end
    end
    fleet.sleep(n % 13 / 15)
    local sum = 0
    for i = 1, 20000 do sum = sum + i % 7 end
    return n * 2 + sum * 0
  end,
}
