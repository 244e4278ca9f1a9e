/* Packs codes through the installed header and library. */
#include <lowbit/lowbit.h>

int main(void) {
  const uint8_t codes[4] = {1, 2, 3, 0};
  uint8_t packed = 0;
  lowbit_context context;
  lowbit_error error;
  if (lowbit_context_init(&context, NULL, &error) != LOWBIT_OK) return 1;
  if (lowbit_pack_bits(&context, 2, 1, 4, codes, &packed, &error) != LOWBIT_OK) return 2;
  return packed == 0x39 ? 0 : 3;
}
