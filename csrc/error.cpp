#include "error.hpp"

#include <cstdarg>
#include <cstddef>
#include <cstdio>

namespace lowbit {

lowbit_status fail(lowbit_error* error, lowbit_status status, const char* format, ...) {
  if (!error) return status;
  error->status = status;
  va_list args;
  va_start(args, format);
  const int wanted = std::vsnprintf(error->message, sizeof error->message, format, args);
  va_end(args);
  if (wanted < 0) {
    error->message[0] = '\0';
  } else if (static_cast<size_t>(wanted) >= sizeof error->message) {
    // Back to the lead byte of the last character, and drop that character: Python decodes messages strictly.
    size_t end = sizeof error->message - 2;
    while (end > 0 && (static_cast<unsigned char>(error->message[end]) & 0xC0) == 0x80) --end;
    error->message[end] = '\0';
  }
  return status;
}

lowbit_status ok(lowbit_error* error) {
  if (error) {
    error->status = LOWBIT_OK;
    error->message[0] = '\0';
  }
  return LOWBIT_OK;
}

}  // namespace lowbit
