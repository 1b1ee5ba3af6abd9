package bochs

import (
	"fmt"
	"strings"
)

// Machine is the emulated computer: an Intel PC of the Sandy Bridge generation with
// one CD-ROM drive and two serial ports.
type Machine struct {
	// MemoryMiB is the size of the memory in MiB, 64 to 2048.
	MemoryMiB int `json:"memory_mib"`
	// CPUs is the number of physical CPUs, 1 to 8. The emulator has one thread for
	// all of them, and an idle CPU takes as much of it as a busy one.
	CPUs int `json:"cpus"`
	// IPS is the number of instructions in a virtual second, 1e6 to 2e9. It is also
	// the frequency of the time stamp counter in Hz.
	IPS int `json:"ips"`
	// Time0 is the time of the machine's clock at power-on, in seconds since 1970,
	// at least 1. For Bochs, smaller values mean the present time.
	Time0 int64 `json:"time0"`
}

// DefaultMachine returns the lab's machine: 1 GiB, one CPU, 1e8 instructions a
// second. The emulator runs about that many in a second of wall time.
func DefaultMachine() Machine {
	return Machine{MemoryMiB: 1024, CPUs: 1, IPS: 100_000_000, Time0: 1_600_000_000}
}

// Validate returns an error for the first field that is out of its range.
func (m Machine) Validate() error {
	for _, f := range []struct {
		name             string
		value, low, high int64
	}{
		{"memory in MiB", int64(m.MemoryMiB), 64, 2048},
		{"number of CPUs", int64(m.CPUs), 1, 8},
		{"number of instructions a second", int64(m.IPS), 1e6, 2e9},
		{"power-on time", m.Time0, 1, 1<<32 - 1},
	} {
		if f.value < f.low || f.value > f.high {
			return fmt.Errorf("the emulated machine's %s is %d: choose %d to %d", f.name, f.value, f.low, f.high)
		}
	}
	return nil
}

// Names below a run's folder, which is the emulator's working folder. All paths in
// the configuration are relative to it. The configuration therefore depends on the
// machine alone, and no path in it can be too long or need quotes.
const (
	configFile  = "bochsrc"
	discLink    = "lab.iso"
	biosLink    = "bios.rom"
	vgaBIOSLink = "vgabios.rom"
	stateDir    = "state" // of a restored machine

	// ConsoleLog is the machine's output on com1: Xen's and dom0's console.
	ConsoleLog = "serial.log"
	// emulatorLog is the emulator's log, in the format that scanLog reads.
	emulatorLog = "bochs.log"
	// outputLog is the emulator's standard output and standard error.
	outputLog = "output.log"
)

// Config returns the machine's configuration file.
func (m Machine) Config() string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }

	// Plugins come first: when Bochs restores a machine, it reads this file before it
	// has loaded them. Devices that the lab does not need are left out: each takes
	// time in the machine's boot, and most have timers.
	line("plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1, serial=1, iodebug=0, parallel=0, gameport=0, " +
		"speaker=0, usb_uhci=0")
	line("config_interface: textconfig")
	// The only display of the package that needs no other library. No viewer connects.
	line(`display_library: rfb, options="timeout=0, hideIPS"`)
	line("vga: extension=vbe, update_freq=5, realtime=0")
	line("sound: waveoutdrv=dummy, waveout=none")

	// All of the machine's memory is in the host's memory, none in a swap file.
	// Bochs' start takes time that grows with the square of the number of blocks. A
	// block of 1 MiB is saved if any byte in it was used.
	line("memory: guest=%d, host=%d, block_size=1024", m.MemoryMiB, m.MemoryMiB)
	line("romimage: file=%s", biosLink)
	line("vgaromimage: file=%s", vgaBIOSLink)
	// A CPU model without RDRAND: its random numbers would differ in each run.
	line("cpu: model=corei7_sandy_bridge_2600k, count=%d, ips=%d, reset_on_triple_fault=0", m.CPUs, m.IPS)
	// The instruction counter alone makes virtual time.
	line("clock: sync=none, time0=%d, rtc_sync=0", m.Time0)
	line("pci: enabled=1, chipset=i440fx")
	line("ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14")
	line("ata0-master: type=cdrom, path=%s, status=inserted", discLink)
	line("ata1: enabled=0")
	line("boot: cdrom")

	line("com1: enabled=1, mode=file, dev=%s", ConsoleLog)
	// The shim replaces this address by the inherited socket.
	line("com2: enabled=1, mode=socket-client, dev=127.0.0.1:2")

	line("log: %s", emulatorLog)
	line("logprefix: %%t%%e%%d") // the format that parseLogLine reads
	line("debug: action=ignore")
	line("info: action=report")
	line("error: action=report")
	line("panic: action=fatal") // this display permits no other action
	return b.String()
}
