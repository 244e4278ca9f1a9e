/* The end of a program that cannot go on: "engine: " and the message on standard error, exit status 1. */
#ifndef ENGINE_DIE_H_
#define ENGINE_DIE_H_

#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void die(const char* format, ...);

#endif
