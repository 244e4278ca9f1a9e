}  // namespace
}  // namespace LOWBIT_ISA
}  // namespace lowbit
