-- SPDX-License-Identifier: MIT
-- A job script as workers need it.

local codec = require("host.codec")
local digest = require("fleet.digest")
local driver = require("fleet.driver")
local modules = require("fleet.ship.modules")

local script_blobs = {}

--- Returns the modules that a script requires, and last its definition.
---@param source string
---@param path string
---@param concurrency integer|nil default: 64
---@return {key: string, bytes: string}[]
function script_blobs.of(source, path, concurrency)
  local hashes = modules.required_by(source)
  local definition = assert(codec.encode({
    kind = "script", source = source, chunkname = "@" .. path, modules = hashes,
    concurrency = concurrency or 64,
  }))
  local blobs = { table.unpack(driver.module_blobs(hashes)) }
  blobs[#blobs + 1] = { key = digest.sha256(definition), bytes = definition }
  return blobs
end

return script_blobs
