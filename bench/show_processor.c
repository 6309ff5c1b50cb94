/* Shows the programs that load it another x86-64 processor than the one they run on, so that they choose its kernels.

   cc -O2 -shared -fPIC -o show_processor.so bench/show_processor.c
   SHOWN_PROCESSOR=zen3 LD_PRELOAD=./show_processor.so python ...

   Linux can make the CPUID instruction fault (arch_prctl(2), ARCH_CPUID_SET). The handler executes it, hides the features that
   the shown processor does not have, and continues after it. The instructions themselves run on the real processor: IEEE 754
   defines the results of additions, multiplications and FMA, so that they are the same on both. Features that the real processor
   lacks cannot be shown. The dynamic loader has chosen the C library's functions before. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { CPUID_SET = 0x1012, FAULTING = 0, WORKING = 1 };
struct processor {
  const char *name;
  int amd, avx512;
  uint32_t signature; /* family, model and stepping, as leaf 1 has them */
};

static const struct processor PROCESSORS[] = {
    {"haswell", 0, 0, 0x000306F2},
    {"zen3", 1, 0, 0x00A00F11},
    {"zen4", 1, 1, 0x00A10F11},
};

static const struct processor *shown;

static void set_cpuid(int state) { syscall(SYS_arch_prctl, CPUID_SET, state); }

static void hide(uint32_t leaf, uint32_t part, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
  if (leaf == 0 && shown->amd) {
    *b = signature_AMD_ebx, *c = signature_AMD_ecx, *d = signature_AMD_edx;
  } else if (leaf == 1) {
    *a = shown->signature;
  } else if (leaf == 7 && part == 0) {
    if (!shown->avx512) {
      *b &= ~(bit_AVX512F | bit_AVX512DQ | bit_AVX512IFMA | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL);
      *c = 0; /* AVX512-VNNI and others */
    }
    *d = 0; /* AMX, AVX512-FP16 and others */
  } else if (leaf == 7) {
    *a &= shown->avx512 ? bit_AVX512BF16 : 0; /* not AVX-VNNI */
    *b = *c = *d = 0;
  } else if (leaf == 0x19 || (leaf >= 0x1D && leaf <= 0x24)) {
    *a = *b = *c = *d = 0; /* AMX, AVX10 */
  } else if (leaf == 0x80000000 && shown->amd) {
    *a = 0x80000021;
  } else if (leaf == 0x80000001 && shown->amd) {
    *c |= 1u << 22; /* leaf 0x8000001D describes the caches; the real processor does so in leaf 4 */
  }
}

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (memcmp((const void *)registers[REG_RIP], "\x0f\xa2", 2) != 0) {
    signal(number, SIG_DFL); /* another fault: it comes again, and ends the program */
    return;
  }
  uint32_t leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
  set_cpuid(WORKING);
  __cpuid_count(leaf == 0x8000001D && shown->amd ? 4 : leaf, part, a, b, c, d);
  set_cpuid(FAULTING);
  hide(leaf, part, &a, &b, &c, &d);
  registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
  const char *name = getenv("SHOWN_PROCESSOR");
  for (size_t i = 0; name && i < sizeof PROCESSORS / sizeof *PROCESSORS; i++)
    if (strcmp(PROCESSORS[i].name, name) == 0) shown = &PROCESSORS[i];
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  if (!shown || sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, CPUID_SET, FAULTING)) {
    static const char words[] = "SHOWN_PROCESSOR names no processor, or this machine cannot show another.\n";
    if (write(2, words, sizeof words - 1)) _exit(70);
    _exit(70);
  }
}
