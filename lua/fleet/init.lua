-- SPDX-License-Identifier: MIT
-- The public library, for driver scripts, the prompt and tasks. The modules fleet.http,
-- fleet.digest, fleet.json, fleet.xml, fleet.log and fleet.rpc are required by their own names.
--
-- A function travels as its source, with the values it captured (see fleet.ship). Expected
-- failures return nil and an error (see fleet.errors); misuse raises. Times are in seconds.
-- Functions that talk to nodes wait, and other tasks of the process run meanwhile.

local calls = require("fleet.api.calls")
local check = require("fleet.base.check")
local future = require("fleet.base.future")
local maps = require("fleet.api.maps")
local tasks = require("fleet.api.tasks")

local fleet = {}

for _, part in ipairs({ calls, maps, tasks }) do
  for name, value in pairs(part) do fleet[name] = value end
end

fleet.race, fleet.all = future.race, future.all

return check.module("fleet", fleet)
