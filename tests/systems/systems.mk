# systems.mk - the same tests through other compilers, dialects, C libraries and processors; the
# part of the Makefile behind `make test-systems`. What the machine lacks is skipped by name.

setup-systems:
	@sh tests/setup.sh $(PACKAGES) $(SYSTEMS_PACKAGES)

SYSTEMS_PACKAGES = tcc musl-tools lld qemu-user \
	$(foreach p,aarch64 arm i686 riscv64 s390x powerpc64le,$(foreach c,gcc g++,\
		$(c)-$(p)-linux-gnu$(if $(filter arm,$(p)),eabihf))) \
	$(foreach p,arm64 armhf i386 riscv64 s390x ppc64el,libc6-dev-$(p)-cross)

# --- processors: static programs, run by qemu's user mode; i386 by this processor itself ---------

PROCESSORS = aarch64 aarch64_bti arm_thumb arm i386 riscv64 s390x ppc64le

aarch64 = aarch64-linux-gnu-gcc -std=c99 -O2 -static
# Each indirect branch has a landing pad, return addresses are signed, and qemu enforces both.
aarch64_bti = aarch64-linux-gnu-gcc -std=c99 -O2 -static -mbranch-protection=standard \
	-Wl,-z,force-bti,--no-warnings
arm_thumb = arm-linux-gnueabihf-gcc -std=c99 -O2 -static -mthumb
arm = arm-linux-gnueabihf-gcc -std=c99 -O2 -static -marm
i386 = i686-linux-gnu-gcc -std=c99 -O2 -static
riscv64 = riscv64-linux-gnu-gcc -std=c99 -O2 -static
# qemu hands control messages that it does not know on as they are, in the other order of bytes:
# datagrams that the kernel shall cut or join are out of reach.
s390x = s390x-linux-gnu-gcc -std=c99 -O2 -static
ppc64le = powerpc64le-linux-gnu-gcc -std=c99 -O2 -static

emulator_aarch64 = qemu-aarch64
emulator_aarch64_bti = qemu-aarch64
emulator_arm_thumb = qemu-arm
emulator_arm = qemu-arm
emulator_riscv64 = qemu-riscv64
emulator_s390x = qemu-s390x
emulator_ppc64le = qemu-ppc64le
