-- What a stranger's program wrote, made fit for a message: bounded, one readable line, valid UTF-8 whatever it was.
local M = {}

-- Of the first byte of a character: its length and what the second byte may be (RFC 3629).
local function shape(first)
  if first < 0x80 then return 1 end
  if first >= 0xC2 and first <= 0xDF then return 2, 0x80, 0xBF end
  if first == 0xE0 then return 3, 0xA0, 0xBF end
  if first == 0xED then return 3, 0x80, 0x9F end
  if first >= 0xE1 and first <= 0xEF then return 3, 0x80, 0xBF end
  if first == 0xF0 then return 4, 0x90, 0xBF end
  if first >= 0xF1 and first <= 0xF3 then return 4, 0x80, 0xBF end
  if first == 0xF4 then return 4, 0x80, 0x8F end
end

-- The length of the character at a position; nil: no character begins there.
local function length_at(text, at)
  local length, least, most = shape(text:byte(at))
  if not length or length == 1 then return length end
  local second = text:byte(at + 1)
  if not second or second < least or second > most then return nil end
  for i = at + 2, at + length - 1 do
    local byte = text:byte(i)
    if not byte or byte < 0x80 or byte > 0xBF then return nil end
  end
  return length
end

local ESCAPES = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function escape(byte) return ("\\x%02X"):format(byte) end

local function readable(text, most, keep_lines)
  local pieces, at = {}, 1
  while at <= #text and at <= most do
    local length = length_at(text, at)
    local piece = text:sub(at, at + (length or 1) - 1)
    local is_kept = keep_lines and (piece == "\n" or piece == "\t")
    if not length then
      piece = escape(text:byte(at))
    elseif length == 1 and piece:find("[%c\127]") and not is_kept then
      piece = ESCAPES[piece] or escape(piece:byte())
    end
    pieces[#pieces + 1] = piece
    at = at + (length or 1)
  end
  return table.concat(pieces) .. (at <= #text and "..." or "")
end

-- Line breaks stay: what a compiler said.
function M.block(text, most) return readable(text, most, true) end

function M.line(text, most) return readable(text, most, false) end

function M.quoted(text, most) return '"' .. M.line(text, most) .. '"' end

function M.last_line(text)
  local last
  for line in text:gmatch("[^\n]+") do
    if line:find("%S") then last = line end
  end
  return last
end

return M
