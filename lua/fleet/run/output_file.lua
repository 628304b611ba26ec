-- SPDX-License-Identifier: MIT
-- The destination of a run's results: stdout, a device or a pipe, or a file that gets its name only
-- when it is complete. Also keeps one file from being used for two purposes.

local errors = require("fleet.errors")
local file = require("host.file")
local stream = require("host.stream")

local output_file = {}

-- The kernel's limit.
local MAX_LINKS = 40
-- Names of the descriptors of the process itself: opening one anew would empty a file.
local DESCRIPTORS = { ["/dev/stdin"] = 0, ["/dev/stdout"] = 1, ["/dev/stderr"] = 2 }

local function descriptor_of(path)
  if type(path) == "number" then return path end
  local number = path:match("^/dev/fd/(%d+)$") or path:match("^/proc/self/fd/(%d+)$")
  return DESCRIPTORS[path] or math.tointeger(tonumber(number))
end

-- The name at the end of a chain of symbolic links, which need not exist.
local function resolve(path)
  for _ = 1, MAX_LINKS do
    local target = file.link(path)
    if not target then return path end
    path = target:sub(1, 1) == "/" and target or (path:match("^(.*/)") or "") .. target
  end
  return path
end

-- Returns the same for all names of one file, even of one that does not exist yet.
local function identity(path)
  local about = file.about(descriptor_of(path) or path)
  if about then return about.type == "file" and about.id or nil end
  local folder, name = resolve(path):match("^(.-)([^/]+)$")
  about = name and file.about(folder == "" and "." or folder)
  return about and about.id .. "/" .. name
end

--- Finds a file that is used for two purposes, one of which is to write to it.
---@param written {name: string, path: string|integer}[] `name` as the user calls it
---@param read {name: string, path: string|integer}[]
---@return fleet.Error|nil of kind "usage"
function output_file.conflict(written, read)
  local owner = {}
  for _, list in ipairs({ read, written }) do
    for _, use in ipairs(list) do
      local id = identity(use.path)
      local other = id and owner[id]
      if other and list == written then
        return errors.format("usage", "%s is the same file as %s; name another one", use.name,
          other.name)
      end
      if id then owner[id] = use end
    end
  end
  return nil
end

--- @class fleet.run.OutputFile
--- @field stream host.Stream
--- @field path? string of anything but stdout
--- @field partial? string where results are until the file is complete
local OutputFile = {}
OutputFile.__index = OutputFile

--- Opens the destination. Fails with kind "output", or "usage" when another run is writing the
--- file.
---@param path string|nil default: stdout
---@return fleet.run.OutputFile|nil
---@return fleet.Error|nil
function output_file.open(path)
  local descriptor = path and descriptor_of(path)
  local about = path and not descriptor and file.about(path)
  local out, err, partial
  if not path then
    out = stream.stdout()
  elseif descriptor then
    out, err = stream.descriptor(descriptor)
  elseif about and about.type ~= "file" then -- such as /dev/null, which must not be replaced
    out, err = stream.open(path, "w")
  else
    path = resolve(path)
    partial = path .. ".partial"
    out, err = stream.replace(path)
    if not out and err.kind == "usage" then
      err.message = err.message .. "; wait for it, or name another file with --output"
    end
  end
  if not out then return nil, err end
  return setmetatable({ stream = out, path = path, partial = partial }, OutputFile)
end

---@param bytes string
---@return true|nil
---@return fleet.Error|nil
function OutputFile:write(bytes)
  return self.stream:write(bytes)
end

--- Gives a file its name, and closes it.
---@return true|nil
---@return fleet.Error|nil
function OutputFile:finish()
  if not self.path then return true end
  if not self.partial then return self.stream:close() end
  local ok, err = self.stream:sync()
  if not ok then return nil, err end
  -- while the lock is held: later the name may belong to another run
  local renamed, message = os.rename(self.partial, self.path)
  self.stream:close()
  if renamed then return true end
  return nil, errors.format("output", "cannot rename '%s' to '%s': %s", self.partial, self.path,
    message)
end

--- Removes what was written to a file.
function OutputFile:discard()
  if not self.partial then return end
  os.remove(self.partial)
  self.stream:close()
end

return output_file
