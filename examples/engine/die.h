/* The end of a program that cannot go on: "engine: " and the message on standard error, exit status 1. */
#ifndef ENGINE_DIE_H_
#define ENGINE_DIE_H_

_Noreturn void die(const char* format, ...);

#endif
