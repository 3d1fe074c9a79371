-- Requests for wrk: `create` makes a ConfigMap of its own with each request, `get` reads one of those that are there. Requests are
-- put together from prepared parts, names have a fixed width: the client is to cost as little as it can.
local threads = 0
function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local ready = {}
local count, index = 0, 0
local mode, head, tail

function init(args)
  mode = args[1]
  local token, prefix, objects = args[2], args[3], tonumber(args[4] or "0")
  local common = " HTTP/1.1\r\nHost: load\r\nUser-Agent: wrk\r\nAccept: application/json\r\nAuthorization: Bearer " .. token .. "\r\n"
  if mode == "create" then
    local text = string.rep("0123456789abcdef", 33)
    local before = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"' .. prefix .. "-" .. id .. "-"
    local after = '","namespace":"load","labels":{"app":"load"}},"data":{"payload":"' .. text .. '","owner":"load"}}'
    local length = #before + 9 + #after
    head = "POST /api/v1/namespaces/load/configmaps" .. common .. "Content-Type: application/json\r\nContent-Length: " .. length
      .. "\r\n\r\n" .. before
    tail = after
  else
    math.randomseed(42 + id)
    for at = 1, 4096 do
      ready[at] = "GET /api/v1/namespaces/load/configmaps/seed-" .. math.random(1, objects) .. common .. "\r\n"
    end
  end
end

function request()
  if mode == "create" then
    count = count + 1
    return head .. string.format("%09d", count) .. tail
  end
  index = index % 4096 + 1
  return ready[index]
end
