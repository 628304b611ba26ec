-- SPDX-License-Identifier: MIT
-- Where the results of a run go: stdout, a device or a pipe, or a file that gets its name only
-- when it is complete. Also what keeps one file from being used for two purposes.

local errors = require("fleet.errors")
local file = require("host.file")
local stream = require("host.stream")

local sink = {}

-- As the kernel has it.
local MOST_LINKS = 40
-- Names of the descriptors of the process itself: to open one anew would empty a file.
local DESCRIPTORS = { ["/dev/stdin"] = 0, ["/dev/stdout"] = 1, ["/dev/stderr"] = 2 }

--- @class fleet.run.Sink
--- @field partial? string where results are until the file is complete
--- @field write fun(bytes: string): true|nil, fleet.Error|nil
--- @field finish fun(): true|nil, fleet.Error|nil gives the file its name
--- @field discard fun() removes what was written to a file

local function descriptor_of(path)
  if type(path) == "number" then return path end
  local number = path:match("^/dev/fd/(%d+)$") or path:match("^/proc/self/fd/(%d+)$")
  return DESCRIPTORS[path] or math.tointeger(tonumber(number))
end

-- The name at the end of a chain of symbolic links, which need not exist.
local function resolve(path)
  for _ = 1, MOST_LINKS do
    local target = file.link(path)
    if not target then return path end
    path = target:sub(1, 1) == "/" and target or (path:match("^(.*/)") or "") .. target
  end
  return path
end

-- What is the same for all names of one file, also of one that does not exist yet.
local function identity(path)
  local about = file.about(descriptor_of(path) or path)
  if about then return about.type == "file" and about.id or nil end
  local folder, name = resolve(path):match("^(.-)([^/]+)$")
  about = name and file.about(folder == "" and "." or folder)
  return about and about.id .. "/" .. name
end

--- Finds two purposes of one file of which one is to write to it.
---@param written {name: string, path: string|integer}[] `name` as the user calls it
---@param read {name: string, path: string|integer}[]
---@return fleet.Error|nil of kind "usage"
function sink.clash(written, read)
  local owner = {}
  for _, list in ipairs({ read, written }) do
    for _, use in ipairs(list) do
      local id = identity(use.path)
      local other = id and owner[id]
      if other and list == written then
        return errors.new({
          kind = "usage",
          message = ("%s is the same file as %s; name another one"):format(use.name, other.name),
        })
      end
      if id then owner[id] = use end
    end
  end
  return nil
end

-- What is no plain file, such as /dev/null, must not be replaced.
local function open_special(path)
  local out, err
  if not path then
    out = stream.stdout()
  else
    local descriptor = descriptor_of(path)
    if descriptor then
      out, err = stream.descriptor(descriptor)
    else
      out, err = stream.open(path, "w")
    end
  end
  if not out then return nil, err end
  return {
    write = function(bytes) return out:write(bytes) end,
    finish = function() return not path or out:close() end,
    discard = function() end,
  }
end

--- Opens what results are written to. Fails with kind "output", or "usage" when another run is
--- writing the file.
---@param path string|nil nil: stdout
---@return fleet.run.Sink|nil
---@return fleet.Error|nil
function sink.open(path)
  local about = path and file.about(path)
  if not path or descriptor_of(path) or about and about.type ~= "file" then
    return open_special(path)
  end
  path = resolve(path)
  local partial = path .. ".partial"
  local out, err = stream.replace(path)
  if not out then
    if err.kind == "usage" then
      err.message = err.message .. "; wait for it, or name another file with --output"
    end
    return nil, err
  end
  return {
    partial = partial,
    write = function(bytes) return out:write(bytes) end,
    finish = function()
      local ok, why = out:sync()
      if not ok then return nil, why end
      -- while we have the lock: what has the name afterwards is another run's
      local renamed, message = os.rename(partial, path)
      out:close()
      if renamed then return true end
      message = ("cannot rename '%s' to '%s': %s"):format(partial, path, message)
      return nil, errors.new({ kind = "output", message = message })
    end,
    discard = function()
      os.remove(partial)
      out:close()
    end,
  }
end

return sink
