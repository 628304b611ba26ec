-- SPDX-License-Identifier: MIT
-- A job for spec/deploy/unit; an item says what to do: "sleep N", "memory", "forever".

local fleet = require("fleet")

local actions = {}

function actions.sleep(seconds)
  fleet.sleep(tonumber(seconds))
  return fleet.self().node
end

--- Takes all the memory that it can get.
function actions.memory()
  local list = {}
  while true do list[#list + 1] = ("x"):rep(1 << 20) .. #list end
end

--- Stays where no hook can end it: its worker has to be killed.
function actions.forever()
  table.sort({ 1, 2 }, function() while true do end end)
end

return {
  options = { timeout = 60, retries = 0 },
  map = function(item)
    local action, argument = item:match("^(%a+) ?(.*)$")
    return actions[action](argument)
  end,
}
