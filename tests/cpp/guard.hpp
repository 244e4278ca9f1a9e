// Memory that ends at a page no one may touch: an access past the end stops the program.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

class Guarded {
 public:
  // At least `bytes`, in whole pages between the two.
  explicit Guarded(std::size_t bytes = 1)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), body_((bytes + page_ - 1) / page_ * page_) {
    if (body_ == 0) body_ = page_;
    base_ = mmap(nullptr, body_ + 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED || mprotect(base_, page_, PROT_NONE) != 0 ||
        mprotect(static_cast<char*>(base_) + page_ + body_, page_, PROT_NONE) != 0) {
      std::perror("Guarded");
      std::abort();
    }
  }
  ~Guarded() { munmap(base_, body_ + 2 * page_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  // n elements, at most what there is: the first or the last between the two pages.
  template <class T>
  T* first() const {
    return reinterpret_cast<T*>(static_cast<char*>(base_) + page_);
  }
  template <class T>
  T* last(std::size_t n) const {
    return reinterpret_cast<T*>(static_cast<char*>(base_) + page_ + body_) - n;
  }

 private:
  std::size_t page_, body_;
  void* base_;
};
