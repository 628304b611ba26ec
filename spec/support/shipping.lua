-- SPDX-License-Identifier: MIT
-- Sends functions to "another process": packs, encodes, decodes, and unpacks them in a new sandbox
-- with nothing but what travelled.

local codec = require("host.codec")
local modules = require("fleet.ship.modules")
local sandbox = require("fleet.worker.sandbox")
local ship = require("fleet.ship")

local shipping = {}

--- Makes a sandbox, without shielding the strings of this Lua state.
---@param ... any as for sandbox.new
---@return table env
function shipping.sandbox(...)
  local strings = debug.getmetatable("")
  local index = strings.__index
  local env = sandbox.new(...)
  strings.__index, strings.__metatable = index, nil
  return env
end

--- Makes a place to which functions can be sent: `place:send(f)` returns the function that arrives
--- there, or nil and an error; `place.env` has its globals, `place.printed` its output.
---@param trusted string[]|nil names of trusted modules
---@return table
function shipping.place(trusted)
  local place = { printed = {}, texts = {} }
  place.loader = modules.loader(place.texts, trusted)
  place.env = shipping.sandbox(function(text) place.printed[#place.printed + 1] = text end,
    place.loader)
  function place:send(f)
    local packed, err = ship.pack(f)
    if not packed then return nil, err end
    local bytes = assert(codec.encode(packed, "packed"))
    packed = assert(codec.decode(bytes))
    for _, hash in pairs(packed.modules) do
      self.texts[hash] = (assert(modules.blob(hash)))
    end
    return ship.unpack(packed, self.env, self.loader)
  end
  return place
end

--- Sends a function to a new place.
---@param f function
---@return function|nil
---@return fleet.Error|nil
function shipping.send(f) return shipping.place():send(f) end

--- Makes a folder with these files and puts it at the front of package.path.
--- `folder:write(name, text)` writes another; `folder:close()` undoes that, forgets its modules and
--- removes it.
---@param files table<string, string> name -> text
---@return table
function shipping.folder(files)
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute(("mkdir '%s'"):format(path)))
  local folder = { path = path, search = package.path }
  function folder:write(name, text)
    local file = assert(io.open(self.path .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  function folder:close()
    package.path = self.search
    for name in pairs(files) do package.loaded[name:gsub("%.lua$", "")] = nil end
    os.execute(("rm -r '%s'"):format(self.path))
  end
  for name, text in pairs(files) do folder:write(name, text) end
  package.path = path .. "/?.lua;" .. package.path
  return folder
end

return shipping
