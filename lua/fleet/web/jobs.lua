-- SPDX-License-Identifier: MIT
-- The page Jobs: the scripts of some folders, each with a form that begins a run.

local file = require("host.file")
local httpd = require("fleet.httpd")
local input = require("fleet.run.input")
local pages = require("fleet.web.job_pages")
local upload = require("fleet.web.upload")
local work = require("fleet.web.work")

local jobs = {}

-- Items of its own that a job may have in one run.
local MAX_ITEMS = 1000000

-- Returns the names of scripts, sorted, and the path of each. Of scripts of the same name the one
-- in the first folder counts.
local function find_scripts(folders)
  local names, paths = {}, {}
  for _, folder in ipairs(folders) do
    for _, entry in ipairs(file.list(folder) or {}) do
      local name = entry:match("^([%w._-]+)%.lua$")
      if name and not paths[name] then
        names[#names + 1] = name
        paths[name] = ("%s/%s"):format(folder, entry)
      end
    end
  end
  table.sort(names)
  return names, paths
end

local function runs_of(app, script)
  local list = {}
  for _, r in ipairs(app.store.runs) do
    if r.kind == "job" and (not script or r.script == script) then list[#list + 1] = r end
  end
  return list
end

local function show_list(app)
  local names, paths = find_scripts(app.scripts)
  local list = {}
  for _, name in ipairs(names) do
    local loaded, err = work.load(paths[name])
    if loaded then
      list[#list + 1] = { name = name, summary = loaded.summary or "" }
    elseif not err.message:find("is a driver script", 1, true) then
      list[#list + 1] = { name = name, problem = err.message }
    end
  end
  return pages.list(list, app.scripts, runs_of(app))
end

-- Returns the job that a request is about, its path and its version.
local function find(app, request)
  local _, paths = find_scripts(app.scripts)
  local path = paths[request.params[1]]
  if not path then httpd.refuse(404, "There is no such job.") end
  local loaded, code, version = work.load(path)
  if not loaded then httpd.refuse(422, "%s", code.message) end
  return loaded, path, version
end

local function show_form(app, request, loaded, path, more)
  local code, headers = app.csrf:issue(request)
  more = more or {}
  more.name, more.summary, more.max = request.params[1], loaded.summary or "", MAX_ITEMS
  more.has_items, more.runs = loaded.items ~= nil, runs_of(app, path)
  more.code, more.headers = code, headers
  return pages.form(more)
end

-- Returns a source of the items, or nil and a sentence.
local function source_of(loaded, form)
  local items, problem = upload.items(form, "items")
  if not items then return nil, problem end
  if #items > 0 then return input.words(items) end
  if not loaded.items then return nil, "Enter at least one item, or choose a file." end
  local limit = math.tointeger(tonumber(form.fields.limit or ""))
  if not limit or limit < 1 or limit > MAX_ITEMS then
    return nil, ("The number of items is from 1 to %d."):format(MAX_ITEMS)
  end
  return input.limit(input.from_job(loaded.items), limit)
end

local function create(app, request)
  local form = request:form(upload.MAX_BYTES)
  app.csrf:check(request, form.fields)
  local loaded, path, version = find(app, request)
  local source, problem = source_of(loaded, form)
  local made, started, err
  if source then
    made, err = app.store:add({
      kind = "job", script = path, source = version, title = request.params[1],
    }, source)
  end
  if made then started, err = made:start(app.open) end
  if started then return { status = 303, headers = { "Location", "/runs/" .. made.id } } end
  return show_form(app, request, loaded, path, {
    problem = err and err.message or problem, status = 422,
    items = form.fields.items, limit = form.fields.limit,
  })
end

--- Returns the routes of the page.
---@param app fleet.WebApp
---@return table[]
function jobs.routes(app)
  return {
    { "GET", "/jobs", function() return show_list(app) end },
    { "GET", "/jobs/{name}", function(request)
      local loaded, path = find(app, request)
      return show_form(app, request, loaded, path)
    end },
    { "POST", "/jobs/{name}", function(request) return create(app, request) end },
  }
end

return jobs
