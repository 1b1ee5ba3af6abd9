package linux

import (
	"encoding/binary"
	"slices"
	"strings"

	"hangbench/results/printable"
)

// frozenFields are what is read of file systems.
type frozenFields struct {
	list                                 uint64 // the address of super_blocks, slid; 0 if absent
	next, typ, id, typeName, frozen, sem place
	frozenSize, semSize                  uint64
	waiterTask, waiterEntry              place // in an element of the queue of a semaphore, on a waiter's stack
}

// frozenNeed is the need of frozen file systems.
func frozenNeed() Need {
	return Need{
		What: "whether a file system is frozen", Ways: [][]string{{"symbol super_blocks", "super_block.s_list",
			"super_block.s_writers.frozen", "super_block.s_writers.rw_sem"}},
		More: []string{"super_block.s_type", "super_block.s_id", "file_system_type.name", "wait_queue_entry.private",
			"wait_queue_entry.entry"},
		Without: "blocked: a file system that is frozen for a backup is taken for a hang",
	}
}

// findFrozen fills k.frozenAt.
func (k *Kernel) findFrozen() {
	k.frozenAt = frozenFields{
		list: k.variable("super_blocks"), next: k.fieldOf("super_block", "s_list"), typ: k.fieldOf("super_block", "s_type"),
		id: k.fieldOf("super_block", "s_id"), typeName: k.fieldOf("file_system_type", "name"),
		waiterTask: k.fieldOf("wait_queue_entry", "private"), waiterEntry: k.fieldOf("wait_queue_entry", "entry"),
	}
	frozen, ok := k.layout.Field("super_block", "s_writers.frozen")
	k.frozenAt.frozen, k.frozenAt.frozenSize = place{uint64(frozen.Offset), ok}, uint64(frozen.Size)
	sem, ok := k.layout.Field("super_block", "s_writers.rw_sem")
	k.frozenAt.sem, k.frozenAt.semSize = place{uint64(sem.Offset), ok}, uint64(sem.Size)
	if f := &k.frozenAt; !f.next.ok || !f.frozen.ok || !f.sem.ok || f.frozenSize > 8 || f.semSize > maxSpan {
		f.list = 0
	}
}

const (
	// maxSystems bounds how many file systems are looked at.
	maxSystems = 256
	// maxFrozen bounds how many of them may be frozen.
	maxFrozen = 16
)

// system is a frozen file system.
type system struct {
	name       string
	begin, end uint64 // of the semaphores that writers take, in the kernel's memory
}

// waitsForWriting reports whether a thread waits for a semaphore of the kind that writers
// of a file system take (sb_start_write of include/linux/fs.h).
func waitsForWriting(stack []string) bool {
	return slices.ContainsFunc(stack, func(f string) bool {
		return strings.HasPrefix(f, "percpu_rwsem_wait") || strings.HasPrefix(f, "__percpu_down_read")
	})
}

// frozenBy returns the frozen file system that a thread waits for, or "". The words are
// those of its stack. One of them is an address in the semaphore, or the thread's queue
// element is among them and its queue leads to the semaphore.
func (k *Kernel) frozenBy(stack []string, self uint64, words []uint64) string {
	if !waitsForWriting(stack) {
		return ""
	}
	systems := k.frozenSystems()
	if len(systems) == 0 {
		return ""
	}
	of := func(v uint64) (string, bool) {
		for _, s := range systems {
			if v >= s.begin && v < s.end {
				return s.name, true
			}
		}
		return "", false
	}
	tries := maxWaiters
	for i, v := range words {
		if name, ok := of(v); ok {
			return name
		}
		f := &k.frozenAt
		entry := i + int(f.waiterEntry.off-f.waiterTask.off)/8
		if v != self || !f.waiterTask.ok || !f.waiterEntry.ok || entry < 0 || entry >= len(words) || tries == 0 {
			continue
		}
		tries--
		next := words[entry]
		for range maxHops {
			if name, ok := of(next); ok {
				return name
			}
			var err error
			if next < kernelHalf || next&7 != 0 {
				break
			}
			if next, err = k.u64(next); err != nil {
				break
			}
		}
	}
	return ""
}

// frozenSystems returns the frozen file systems, at most maxFrozen. It reads them once an
// inspection.
func (k *Kernel) frozenSystems() []system {
	f := &k.frozenAt
	if k.seen.systemsRead || f.list == 0 {
		return k.seen.systems
	}
	k.seen.systemsRead = true
	first, err := k.u64(f.list)
	if err != nil {
		return nil
	}
	budget := maxSystems
	// What was found before an error is right.
	k.follow(f.list, first, &budget, func(node uint64) (uint64, error) {
		sb := node - f.next.off
		v, err := k.number(sb+f.frozen.off, f.frozenSize)
		if err == nil && v != 0 && len(k.seen.systems) < maxFrozen {
			k.seen.systems = append(k.seen.systems, system{k.systemName(sb), sb + f.sem.off, sb + f.sem.off + f.semSize})
		}
		return k.u64(node)
	})
	return k.seen.systems
}

// systemName names a file system: "ext4 on xvda".
func (k *Kernel) systemName(sb uint64) string {
	f := &k.frozenAt
	name := "of an unknown kind"
	if f.typ.ok && f.typeName.ok {
		if typ, err := k.u64(sb + f.typ.off); err == nil {
			if at, err := k.u64(typ + f.typeName.off); err == nil {
				if s := k.text(at, 16); s != "" {
					name = s
				}
			}
		}
	}
	if f.id.ok {
		if id := k.text(sb+f.id.off, 32); id != "" {
			name += " on " + id
		}
	}
	return name
}

// text returns the text at an address, up to its first 0 and at most n bytes, as a
// printable line; "" if it cannot be read.
func (k *Kernel) text(at, n uint64) string {
	b := k.reader.span[:n]
	if at < kernelHalf || k.read(at, b) != nil {
		return ""
	}
	return printable.Line(string(trim(b)))
}

// number reads a number of 1 to 8 bytes.
func (k *Kernel) number(at, size uint64) (uint64, error) {
	b := k.reader.span[:8]
	clear(b)
	err := k.read(at, b[:min(size, 8)])
	return binary.LittleEndian.Uint64(b), err
}
