-- SPDX-License-Identifier: MIT
local instances = require("fleet.aws.instances")

-- As EC2 writes it, shortened.
local ANSWER = [[
<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>8f7724cf-496f-496e-8fe3-example</requestId>
  <reservationSet>
    <item>
      <reservationId>r-1234567890abcdef0</reservationId>
      <groupSet/>
      <instancesSet>
        <item>
          <instanceId>i-1234567890abcdef0</instanceId>
          <instanceState><code>16</code><name>running</name></instanceState>
          <privateDnsName/>
          <launchTime>2026-05-08T16:46:19.000Z</launchTime>
          <placement><availabilityZone>eu-west-1a</availabilityZone><groupName/></placement>
          <privateIpAddress>192.0.2.7</privateIpAddress>
          <ipAddress>198.51.100.7</ipAddress>
          <tagSet>
            <item><key>Name</key><value>a &lt;b&gt; &amp; c</value></item>
            <item><key>empty</key><value/></item>
          </tagSet>
          <networkInterfaceSet><item>
            <privateIpAddress>192.0.2.99</privateIpAddress>
            <ipv6AddressesSet>
              <item><ipv6Address>fd00::7</ipv6Address></item>
              <item><ipv6Address>2001:db8::7</ipv6Address></item>
            </ipv6AddressesSet>
          </item></networkInterfaceSet>
        </item>
        <item><instanceId>i-2</instanceId><ipv6Address>2001:db8::8</ipv6Address></item>
      </instancesSet>
    </item>
    <item><instancesSet><item><instanceState><name>running</name></instanceState></item>
      <item><instanceId> i-3
      </instanceId></item></instancesSet></item>
  </reservationSet>
  <nextToken>abc+/=</nextToken>
</DescribeInstancesResponse>]]

describe("the answers of DescribeInstances", function()
  it("reads the instances of all reservations", function()
    local page = assert(instances.parse(ANSWER))
    assert.same({
      {
        id = "i-1234567890abcdef0", state = "running", zone = "eu-west-1a",
        launched = "2026-05-08T16:46:19.000Z", private_v4 = "192.0.2.7",
        public_v4 = "198.51.100.7", private_v6 = "fd00::7", public_v6 = "2001:db8::7",
        tags = { Name = "a <b> & c", empty = "" },
      },
      { id = "i-2", private_v6 = "2001:db8::8", public_v6 = "2001:db8::8", tags = {} },
      { id = "i-3", tags = {} },
    }, page.instances)
    assert.equal("abc+/=", page.next_token)
  end)

  it("minds the namespace, whatever it is", function()
    local none = ANSWER:gsub(' xmlns="[^"]*"', "")
    assert.equal(3, #instances.parse(none).instances)
    local prefixed = ANSWER:gsub("xmlns=", "xmlns:e="):gsub("<(/?)(%a)", "<%1e:%2")
    assert.equal(3, #instances.parse(prefixed).instances)
    local foreign = ANSWER:gsub("<instanceId>i%-2", '<instanceId xmlns="urn:x">i-2')
    assert.equal(2, #instances.parse(foreign).instances)
  end)

  it("knows the last page, and an empty one", function()
    assert.same({ instances = {} },
      instances.parse("<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"))
    local last = ANSWER:gsub("<nextToken>.*</nextToken>", "<nextToken/>")
    assert.is_nil(instances.parse(last).next_token)
  end)

  it("takes nothing in part, and no other document", function()
    for cut = 1, #ANSWER - 1, 37 do
      local page, err = instances.parse(ANSWER:sub(1, cut))
      assert.is_nil(page)
      assert.equal("decode", err.kind)
    end
    for text, message in pairs({
      ["<html><body>x</body></html>"] = "'html'", ["{}"] = "", [""] = "",
      ["<DescribeInstancesResponse/>"] = "without its set of reservations",
      ["<Response><Errors/></Response>"] = "not an answer of EC2, but an XML document 'Response'",
    }) do
      local page, err = instances.parse(text)
      assert.is_nil(page)
      assert.equal("decode", err.kind)
      assert.is_truthy(err.message:find(message, 1, true), err.message)
    end
  end)

  it("expands no entities", function()
    local bomb = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    for i = 1, 9 do
      bomb = bomb .. ('<!ENTITY a%d "%s">'):format(i,
        ("&a%s;"):format(i == 1 and "" or i - 1):rep(10))
    end
    local page, err = instances.parse(bomb .. "]><DescribeInstancesResponse>&a9;"
      .. "</DescribeInstancesResponse>")
    assert.is_nil(page)
    assert.is_string(err.message)
    page = instances.parse('<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
      .. "<DescribeInstancesResponse><reservationSet/><nextToken>&f;</nextToken>"
      .. "</DescribeInstancesResponse>")
    assert.is_nil(page and page.next_token)
  end)

  it("reads a thousand instances with many tags", function()
    local items = {}
    for i = 1, 1000 do
      local tags = {}
      for t = 1, 20 do
        tags[t] = ("<item><key>tag%d</key><value>value %d</value></item>"):format(t, i)
      end
      items[i] = ("<item><instancesSet><item><instanceId>i-%d</instanceId><tagSet>%s</tagSet>"
        .. "</item></instancesSet></item>"):format(i, table.concat(tags))
    end
    local page = assert(instances.parse("<DescribeInstancesResponse><reservationSet>"
      .. table.concat(items) .. "</reservationSet></DescribeInstancesResponse>"))
    assert.equal(1000, #page.instances)
    assert.equal("value 1000", page.instances[1000].tags.tag20)
  end)
end)
