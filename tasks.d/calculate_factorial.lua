-- n! exactly: a number while JSON and Lua can hold it (to 2^53), the digits as text beyond.
local LIMB = 1e7 -- base of a limb: a product of limb and factor stays far below 2^53

-- Multiplies little-endian limbs in place.
local function multiply(limbs, factor)
  local carry = 0
  for i = 1, #limbs do
    local product = limbs[i] * factor + carry
    limbs[i] = product % LIMB
    carry = math.floor(product / LIMB)
  end
  while carry > 0 do
    limbs[#limbs + 1] = carry % LIMB
    carry = math.floor(carry / LIMB)
  end
end

local function digits(limbs)
  local parts = { string.format("%d", limbs[#limbs]) }
  for i = #limbs - 1, 1, -1 do parts[#parts + 1] = string.format("%07d", limbs[i]) end
  return table.concat(parts)
end

return {
  name    = "calculate_factorial",
  summary = "Calculates n! exactly",
  queue   = "default",
  timeout = "10m",
  params  = {
    number = { type = "integer", minimum = 0, maximum = 20000, description = "n" },
  },
  execute = function(ctx, params)
    local limbs = { 1 }
    for n = 2, params.number do
      multiply(limbs, n)
      if n % 200 == 0 then
        ctx.progress(100 * n / params.number, { at = n })
        ctx.sleep(0) -- let the neighbours run
      end
    end
    local text = digits(limbs)
    local number = tonumber(text)
    return { number = params.number, factorial = number <= 2 ^ 53 and number or text }
  end,
}
