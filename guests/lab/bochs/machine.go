package bochs

import (
	"fmt"
	"strings"
)

// Machine is the computer that is emulated: an Intel PC of the Sandy Bridge
// generation with one CD-ROM drive and two serial ports.
type Machine struct {
	// MemoryMiB is the size of its memory in MiB, from 64 to 2048.
	MemoryMiB int `json:"memory_mib"`
	// CPUs is the number of physical CPUs, from 1 to 8. Each costs its share of
	// the emulator's one thread, idle or not.
	CPUs int `json:"cpus"`
	// IPS is how many instructions make a virtual second, from 1e6 to 2e9. It is
	// also the frequency of the time stamp counter.
	IPS int `json:"ips"`
	// Time0 is what the machine's clock shows at power-on, in seconds since 1970.
	// At least 1, since 0 and below mean "now" to Bochs.
	Time0 int64 `json:"time0"`
}

// DefaultMachine is the lab's machine as it was measured: 1 GiB, one CPU, 1e8
// instructions a second, which is about what the emulator does in a second of
// wall time.
func DefaultMachine() Machine {
	return Machine{MemoryMiB: 1024, CPUs: 1, IPS: 100_000_000, Time0: 1_600_000_000}
}

// Validate reports the first field that is out of its range.
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

// Names below a run's folder, in which the emulator is started. The
// configuration names everything relative to it, so that it depends on the
// machine alone, and no path can be too long or need quotes.
const (
	configFile  = "bochsrc"
	discLink    = "lab.iso"
	biosLink    = "bios.rom"
	vgaBIOSLink = "vgabios.rom"
	stateDir    = "state" // of a restored machine

	// ConsoleLog is what the machine wrote to com1: Xen's and dom0's console.
	ConsoleLog = "serial.log"
	// EmulatorLog is the emulator's own log, see [ScanLog].
	EmulatorLog = "bochs.log"
	// OutputLog is what the emulator wrote to standard output and error.
	OutputLog = "output.log"
)

// Config renders the machine's configuration file.
func (m Machine) Config() string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }

	// Ports and plugins have to be named first: a restored machine's file is read
	// before Bochs has loaded them. What the lab does not need is left out, since
	// each device costs time in the machine's boot and most cost timers.
	line("plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1, serial=1, iodebug=0, parallel=0, gameport=0, speaker=0, usb_uhci=0")
	line("config_interface: textconfig")
	// The only display of the package without libraries of its own. Nobody sees it.
	line(`display_library: rfb, options="timeout=0, hideIPS"`)
	line("vga: extension=vbe, update_freq=5, realtime=0")
	line("sound: waveoutdrv=dummy, waveout=none")

	// All of the memory is in the host's: nothing is ever swapped out to a file.
	// The time Bochs needs to start grows with the square of the number of blocks;
	// one block of 1 MiB is what is saved when a byte in it was touched.
	line("memory: guest=%d, host=%d, block_size=1024", m.MemoryMiB, m.MemoryMiB)
	line("romimage: file=%s", biosLink)
	line("vgaromimage: file=%s", vgaBIOSLink)
	// A model with RDRAND would not run twice in the same way.
	line("cpu: model=corei7_sandy_bridge_2600k, count=%d, ips=%d, reset_on_triple_fault=0", m.CPUs, m.IPS)
	// Virtual time is the instruction counter and nothing else.
	line("clock: sync=none, time0=%d, rtc_sync=0", m.Time0)
	line("pci: enabled=1, chipset=i440fx")
	line("ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14")
	line("ata0-master: type=cdrom, path=%s, status=inserted", discLink)
	line("ata1: enabled=0")
	line("boot: cdrom")

	line("com1: enabled=1, mode=file, dev=%s", ConsoleLog)
	// The shim turns this address into the inherited socket.
	line("com2: enabled=1, mode=socket-client, dev=127.0.0.1:2")

	line("log: %s", EmulatorLog)
	line("logprefix: %%t%%e%%d") // what ParseLogLine reads
	line("debug: action=ignore")
	line("info: action=report")
	line("error: action=report")
	line("panic: action=fatal") // the display insists on it anyway
	return b.String()
}
