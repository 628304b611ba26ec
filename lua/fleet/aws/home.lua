-- SPDX-License-Identifier: MIT
-- Paths as they stand in variables and files: $NAME, ${NAME}, ~ and ~USER, which a shell would
-- have replaced, and a service manager does not.

local home = {}

-- The account's folder by the passwd file: of a name, or of this process.
local function of_account(name, read)
  local uid = not name and (read("/proc/self/status") or ""):match("\nUid:%s*(%d+)")
  for line in (read("/etc/passwd") or ""):gmatch("[^\n]+") do
    local account, id, folder = line:match("^([^:]*):[^:]*:(%d+):[^:]*:[^:]*:([^:]*)")
    if account and (name and account == name or id == uid) then return folder end
  end
  return nil
end

--- A path with its variables and a leading ~ replaced; what is not known stays as it is. Nil when
--- it begins with ~/ and there is no home.
---@param path string
---@param getenv fun(name: string): string|nil
---@param read fun(path: string): string|nil a file
---@return string|nil
function home.expand(path, getenv, read)
  path = path:gsub("%$([%w_]+)", getenv):gsub("%${([^}]*)}", getenv)
  local user, rest = path:match("^~([^/]*)(.*)$")
  if not user then return path end
  local folder
  if user == "" then
    folder = getenv("HOME")
    if not folder or folder == "" then folder = of_account(nil, read) end
    if not folder then return nil end
  else
    folder = of_account(user, read)
    if not folder then return path end
  end
  path = folder:gsub("/+$", "") .. rest
  return path ~= "" and path or "/"
end

return home
