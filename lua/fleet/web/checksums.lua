-- SPDX-License-Identifier: MIT
-- The page Checksums: a form that begins a run of URLs.

local input = require("fleet.run.input")
local pages = require("fleet.web.checksum_pages")
local sitemap = require("fleet.web.sitemap")
local text = require("fleet.base.text")
local upload = require("fleet.web.upload")

local checksums = {}

local function title_of(items, name)
  local count = text.count(#items, "URL")
  if name then return ("%s of %s"):format(count, text.fit(text.escape(name), 60)) end
  return #items == 1 and text.fit(text.escape(items[1]), 60)
    or ("%s, from %s"):format(count, text.fit(text.escape(items[1]), 60))
end

-- Returns the items and a title, or nil and a sentence.
local function items_of(app, form)
  local address = text.escape(form.fields.sitemap or ""):match("^%s*(.-)%s*$")
  if address ~= "" then
    local driver, why = app.open()
    if not driver then return nil, why.message end
    local found, err = sitemap.read(driver, address)
    if not found then return nil, ("The sitemap cannot be read: %s"):format(err.message) end
    if #found == 0 then return nil, "The sitemap names no pages." end
    return found, title_of(found, address)
  end
  local items, name = upload.items(form, "urls")
  if not items then return nil, name end
  if #items == 0 then return nil, "Enter at least one URL, choose a file, or name a sitemap." end
  return items, title_of(items, name)
end

local function show_form(app, request, more)
  local code, headers = app.csrf:issue(request)
  more = more or {}
  more.code, more.headers, more.runs = code, headers, app.store.runs
  return pages.form(more)
end

local function create(app, request)
  local form = request:form(upload.MAX_BYTES)
  app.csrf:check(request, form.fields)
  local items, title = items_of(app, form)
  local made, started, err
  if items then
    made, err = app.store:add({ kind = "checksums", title = title }, input.words(items))
  end
  if made then started, err = made:start(app.open) end
  if started then return { status = 303, headers = { "Location", "/runs/" .. made.id } } end
  return show_form(app, request, {
    problem = err and err.message or title, status = err and 503 or 422,
    urls = form.fields.urls, sitemap = form.fields.sitemap,
  })
end

--- Returns the routes of the page.
---@param app fleet.WebApp
---@return table[]
function checksums.routes(app)
  return {
    { "GET", "/checksums", function(request) return show_form(app, request) end },
    { "POST", "/checksums", function(request) return create(app, request) end },
  }
end

return checksums
