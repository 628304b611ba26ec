-- SPDX-License-Identifier: MIT
local metrics = require("fleet.metrics")

local FAMILIES = {
  { "a_total", "counter", "Things\nwith \\.", { { { x = 'q"\\\n', b = 1 }, 2 }, { nil, 0.1 } } },
  { "b", "gauge", "A gauge.", { { nil, 1e300 }, { { k = "v" }, -math.huge }, { nil, 1 / 3 } } },
  { "c_seconds", "histogram", "Times.",
    { { { k = "v" }, { bounds = { 0.5, 1 }, counts = { 3, 0, 2 }, sum = 7.5 } } } },
}

describe("metrics", function()
  it("are written as Prometheus reads them", function()
    assert.equal([[
# HELP a_total Things\nwith \\.
# TYPE a_total counter
a_total{b="1",x="q\"\\\n"} 2
a_total 0.1
# HELP b A gauge.
# TYPE b gauge
b 1e+300
b{k="v"} -Inf
b 0.33333333333333331
# HELP c_seconds Times.
# TYPE c_seconds histogram
c_seconds_bucket{k="v",le="0.5"} 3
c_seconds_bucket{k="v",le="1"} 3
c_seconds_bucket{k="v",le="+Inf"} 5
c_seconds_sum{k="v"} 7.5
c_seconds_count{k="v"} 5
]], metrics.text(FAMILIES))
  end)

  it("are OpenMetrics for clients that accept it", function()
    local open = metrics.response(FAMILIES, "application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert.matches("^application/openmetrics%-text; version=1.0.0", open.type)
    assert.matches("\n# TYPE a counter\na_total{", open.body)
    assert.is_truthy(open.body:find('le="1.0"', 1, true))
    assert.matches("\n# EOF\n$", open.body)
    assert.matches("^text/plain; version=0.0.4", metrics.response(FAMILIES, "text/html").type)
    assert.matches("^text/plain; version=0.0.4", metrics.response(FAMILIES).type)
  end)

  it("of the process are plausible", function()
    local by_name = {}
    for _, family in ipairs(metrics.process()) do by_name[family[1]] = family[4][1][2] end
    assert.is_true(by_name.process_resident_memory_bytes > 1e6)
    assert.is_true(by_name.process_virtual_memory_bytes > by_name.process_resident_memory_bytes)
    assert.is_true(math.abs(os.time() - by_name.process_start_time_seconds) < 3600)
    assert.is_true(by_name.process_cpu_seconds_total >= 0)
    assert.is_true(by_name.process_max_fds >= 64)
  end)
end)
