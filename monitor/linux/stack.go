package linux

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"hangbench/monitor/detect"
)

const (
	// stackSize is THREAD_SIZE without KASAN (arch/x86/include/asm/page_64_types.h).
	stackSize = 16 << 10
	// maxNamed bounds how many functions of a stack are named.
	maxNamed = 16
	// callersSpan is how much of a running vCPU's stack is read, in bytes.
	callersSpan = 2 << 10
	// maxText bounds how many words of a stack that point at code are looked up.
	maxText = 256
	// lockSpan is how many words of a stack are searched for a lock: the lock's
	// functions are the innermost.
	lockSpan = 256
	// maxWaiters bounds how many words are tried as part of a queue element.
	maxWaiters = 4
	// maxHops bounds how far the queue of a lock is followed from a waiter.
	maxHops = 64
)

// wait holds what was read of a thread in uninterruptible sleep. A thread whose count of
// switches is the same has not run since: it has the same stack and waits for the
// same lock.
type wait struct {
	pid          int32
	switches, sp uint64
	stack        []string
	lock         uint64 // 0 if none was proven
	kind         *lockKind
	server       uint64 // address of the thread of the server that it waits for; 0 if none is known
	sights       int    // inspections that showed it waiting for a server
}

// readWaiting describes a thread in uninterruptible sleep. With an error it returns
// what it has read before, which is right.
func (k *Kernel) readWaiting(t *task) (detect.Waiting, error) {
	addr := t.addr
	w := detect.Waiting{PID: t.pid, Comm: k.groups[t.group].comm, Killable: t.state&taskWakeKill != 0}
	var err error
	if w.Switches, err = k.switchesOf(addr); err != nil {
		return w, err
	}
	if k.off.ioWait.ok {
		b, err := k.u32(addr + k.off.ioWait.off)
		if err != nil {
			return w, err
		}
		w.IOWait = byte(b)&k.off.ioWaitBit != 0
	}
	sp, end, err := k.stackOf(addr)
	if err != nil {
		return w, err
	}
	seen := t.wait
	if seen != nil && seen.pid == t.pid && seen.switches == w.Switches && seen.sp == sp {
		w.Stack = seen.stack
		if seen.lock != 0 {
			k.describe(&w, seen.lock, seen.kind)
			return w, nil
		}
	} else {
		seen, t.wait = nil, nil
	}
	size := end - sp
	if seen != nil {
		size = min(size, 8*lockSpan)
	}
	words, err := k.words(sp, int(size))
	if err != nil {
		return w, err
	}
	if seen == nil {
		// Clipped, because the same slice is returned again and a caller may append.
		w.Stack = slices.Clip(k.named(nil, words, maxNamed))
		seen = &wait{pid: t.pid, switches: w.Switches, sp: sp, stack: w.Stack}
		if 8*uint64(len(words)) == size && len(w.Stack) > 0 {
			t.wait = seen
		}
	}
	if k.explain(&w, seen, addr, words) {
		return w, nil
	}
	lock, kind, proven := k.lockOf(w.Stack, t.addr, sp, end, words)
	if kind != nil {
		k.describe(&w, lock, kind)
	}
	if proven {
		seen.lock, seen.kind = lock, kind
	}
	return w, nil
}

// explain adds to a waiting thread what else than a lock it waits for: a frozen file
// system, a disk, or a program that serves a file system. It returns false if that may be a
// lock.
func (k *Kernel) explain(w *detect.Waiting, seen *wait, self uint64, words []uint64) bool {
	if w.Frozen = k.frozenBy(w.Stack, self, words); w.Frozen != "" {
		return true
	}
	if detect.WaitsForIO(w) {
		k.readDisks()
		w.Disk = k.diskOf(words)
		return false
	}
	if !detect.WaitsForServer(w) {
		return false
	}
	// Most waits are over at the next inspection, and a search takes long: it is made once,
	// for a wait that goes on.
	if seen.sights++; seen.sights == 2 {
		if t := k.serverOf(words); t != nil {
			seen.server = t.addr
		}
	}
	if t, ok := k.thread(seen.server); ok {
		k.describeOwner(w, t)
	}
	return true
}

// switchesOf returns how often a thread has been switched away from.
func (k *Kernel) switchesOf(task uint64) (uint64, error) {
	voluntary, err := k.u64(task + k.off.nvcsw)
	if err != nil {
		return 0, err
	}
	involuntary, err := k.u64(task + k.off.nivcsw)
	return voluntary + involuntary, err
}

// stackOf returns the stack pointer of a thread that sleeps, and the end of its stack.
func (k *Kernel) stackOf(task uint64) (sp, end uint64, err error) {
	stack, err := k.u64(task + k.off.stack)
	if err != nil {
		return 0, 0, err
	}
	if sp, err = k.u64(task + k.off.sp); err != nil {
		return 0, 0, err
	}
	if stack < kernelHalf || sp < stack || sp-stack >= stackSize || sp&7 != 0 {
		return 0, 0, fmt.Errorf("its stack pointer %#x is not in its stack at %#x", sp, stack)
	}
	return sp, stack + stackSize, nil
}

// describeOwner adds who holds what a thread waits for, and what the owner does.
func (k *Kernel) describeOwner(w *detect.Waiting, t *task) {
	w.Owner, w.OwnerRunnable = k.nameOfThread(t), k.off.state.ok && t.state == taskRunning
	w.OwnerState, w.OwnerIn = k.doing(t)
}

// doing returns what a thread does by the last walk, one of the constants detect.Owner...,
// and the innermost function on its stack if it sleeps.
func (k *Kernel) doing(t *task) (state, in string) {
	s := t.state
	switch {
	case !k.off.state.ok:
		return "", ""
	case s == taskRunning:
		return detect.OwnerRuns, ""
	case s&taskDead != 0:
		return detect.OwnerEnds, ""
	case s&(taskStopped|taskTraced) != 0:
		return detect.OwnerStopped, ""
	case s&taskFrozen != 0:
		return detect.OwnerFrozen, ""
	case s&taskUninterruptible != 0 && s&taskNoLoad == 0:
		state = detect.OwnerWaits
	default:
		state = detect.OwnerSleeps
	}
	sp, end, err := k.stackOf(t.addr)
	if err != nil {
		return state, ""
	}
	words, err := k.words(sp, int(min(end-sp, 8*lockSpan)))
	if err != nil {
		return state, ""
	}
	names := k.named(nil, words, 1)
	if len(names) == 0 {
		return state, ""
	}
	if names[0] == "do_freezer_trap" || names[0] == "__refrigerator" {
		return detect.OwnerFrozen, ""
	}
	return state, names[0]
}

// words reads n bytes of the stack from sp on, or fewer if a page cannot be read.
func (k *Kernel) words(sp uint64, n int) ([]uint64, error) {
	b := make([]byte, n&^7)
	got := 0
	for got < len(b) {
		part := min(len(b)-got, int(0x1000-(sp+uint64(got))&0xfff))
		if err := k.read(sp+uint64(got), b[got:got+part]); err != nil {
			if got == 0 {
				return nil, fmt.Errorf("read the stack: %w", err)
			}
			break
		}
		got += part
	}
	words := make([]uint64, got/8)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return words, nil
}

// scheduler reports whether every sleeping thread has this function on its stack, so
// that its name says nothing.
func scheduler(name string) bool {
	for _, p := range []string{"__schedule", "schedule", "io_schedule", "__switch_to", "finish_task_switch",
		"preempt_schedule", "__cond_resched", "ret_from_fork"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// named appends to names the functions whose return addresses are among the words,
// at most most of them. A return address is an address in code behind a call.
func (k *Kernel) named(names []string, words []uint64, most int) []string {
	tries := maxText
	for _, v := range words {
		if most == 0 || tries == 0 {
			break
		}
		if v <= k.textLo || v >= k.textHi {
			continue
		}
		tries--
		name, off, ok := k.Function(v)
		if !ok || off == 0 || scheduler(name) || !k.afterCall(v) {
			continue
		}
		names = append(names, name)
		most--
	}
	return names
}

// afterCall reports whether a call instruction ends at addr: E8 with a target in
// the kernel's code, or FF /2, whose length follows from its second and third byte
// (Intel SDM volume 2, chapter 2 and CALL).
func (k *Kernel) afterCall(addr uint64) bool {
	b := k.buf[:7]
	if k.read(addr-7, b) != nil {
		return false
	}
	if b[2] == 0xe8 {
		target := addr + uint64(int64(int32(binary.LittleEndian.Uint32(b[3:]))))
		if target >= k.textLo && target < k.textHi {
			return true
		}
	}
	for n := 2; n <= 7; n++ {
		op := b[7-n:]
		if op[0] != 0xff || op[1]>>3&7 != 2 {
			continue
		}
		length := 2
		mod, rm := op[1]>>6, op[1]&7
		if mod != 3 && rm == 4 && n > 2 {
			length++
			if mod == 0 && op[2]&7 == 5 {
				length += 4
			}
		}
		switch {
		case mod == 0 && rm == 5, mod == 2:
			length += 4
		case mod == 1:
			length++
		}
		if length == n {
			return true
		}
	}
	return false
}

// Callers appends to names the functions whose return addresses stand on the
// stack at rsp, innermost first. It reads at most callersSpan bytes, and none past
// the end of the stack, which is aligned to its size.
func (k *Kernel) Callers(names []string, rsp uint64) []string {
	rsp = (rsp + 7) &^ 7
	if rsp < kernelHalf {
		return names
	}
	end := min(callersSpan, stackSize-rsp%stackSize)
	words, err := k.words(rsp, int(end))
	if err != nil {
		return names
	}
	return k.named(names, words, maxNamed)
}

// lockOf finds the lock that a thread sleeps for. Newer kernels say it themselves
// (blockerOf). Otherwise: a thread in the lock's queue has a queue element on its stack,
// which holds the thread's own address; the queue leads to its head, which is in the
// lock, or forms a ring, of which the lock knows the first element; and the lock's
// address is on the stack too. All three together are proof. If the queue is torn, lockOf
// returns without proof a lock whose owner the walk has found and whose function is on
// the stack.
func (k *Kernel) lockOf(stack []string, self, sp, end uint64, words []uint64) (
	lock uint64, kind *lockKind, proven bool) {
	if lock, kind, ok := k.blockerOf(self); ok {
		return lock, kind, true
	}
	words = words[:min(len(words), lockSpan)]
	for i := range k.off.locks {
		kind := &k.off.locks[i]
		if !kind.queued {
			continue
		}
		tries := maxWaiters
		for i, v := range words {
			at := sp + 8*uint64(i)
			if v != self || at < sp+kind.waitTask {
				continue
			}
			if tries--; tries < 0 {
				break
			}
			node := at - kind.waitTask + kind.waitList
			find := k.headOf
			if !kind.list.ok {
				find = k.ringOf
			}
			if lock, ok := find(node, kind, sp, end, words); ok {
				return lock, kind, true
			}
		}
	}
	for i := range k.off.locks {
		kind := &k.off.locks[i]
		if !kind.owner.ok || !onStack(stack, kind.name) {
			continue
		}
		for _, v := range words {
			if v < kernelHalf || v&7 != 0 || v >= sp && v < end {
				continue
			}
			owner, err := k.u64(v + kind.owner.off)
			if err != nil || owner&^7 == self {
				continue
			}
			if _, found := k.thread(owner &^ 7); found {
				return v, kind, false
			}
		}
	}
	return 0, nil, false
}

// onStack reports whether a function of this kind of lock is on the stack.
func onStack(stack []string, kind string) bool {
	part := map[string]string{"mutex": "mutex_lock", "rw_semaphore": "rwsem_down", "semaphore": "__down"}[kind]
	for _, f := range stack {
		if strings.Contains(f, part) {
			return true
		}
	}
	return false
}

// headOf follows a queue from an element on the stack to its head. An element is the
// head if the address of the lock that would hold it is on the stack.
func (k *Kernel) headOf(node uint64, kind *lockKind, sp, end uint64, words []uint64) (lock uint64, ok bool) {
	next := node
	for range maxHops {
		var err error
		if next, err = k.u64(next); err != nil || next < kernelHalf || next&7 != 0 || next == node {
			return 0, false
		}
		if next >= sp && next < end {
			continue // another element on the same stack
		}
		for _, v := range words {
			if v == next-kind.list.off && v != 0 {
				return v, true
			}
		}
	}
	return 0, false
}

// blockerOf returns the lock that a thread waits for as the kernel notes it for its own
// detector of hung tasks: task_struct.blocker, whose two lowest bits are the kind
// (include/linux/hung_task.h). It is not set while a thread spins for the lock.
func (k *Kernel) blockerOf(task uint64) (lock uint64, kind *lockKind, ok bool) {
	if !k.off.blocker.ok {
		return 0, nil, false
	}
	v, err := k.u64(task + k.off.blocker.off)
	if err != nil || v < kernelHalf {
		return 0, nil, false
	}
	name := [...]string{"mutex", "semaphore", "rw_semaphore", "rw_semaphore"}[v&3] // the last two: reader, writer
	i := slices.IndexFunc(k.off.locks, func(l lockKind) bool { return l.name == name })
	if i < 0 {
		return 0, nil, false
	}
	return v &^ 3, &k.off.locks[i], true
}

// ringOf follows the ring of waiters from an element on the stack. The lock is a word of
// the stack that is the address of a lock whose first waiter is in the ring.
func (k *Kernel) ringOf(node uint64, kind *lockKind, sp, end uint64, words []uint64) (lock uint64, ok bool) {
	var ring [maxHops]uint64 // addresses of queue elements
	n := 0
	for next := node; n < maxHops; {
		ring[n] = next - kind.waitList
		n++
		var err error
		if next, err = k.u64(next); err != nil || next < kernelHalf || next&7 != 0 {
			return 0, false
		}
		if next == node {
			break
		}
	}
	for _, v := range words {
		if v < kernelHalf || v&7 != 0 || v >= sp && v < end {
			continue
		}
		if first, err := k.u64(v + kind.first.off); err == nil && slices.Contains(ring[:n], first) {
			return v, true
		}
	}
	return 0, false
}

// describe names the lock and its owner. The low three bits of the owner are flags
// (kernel/locking/mutex.c and rwsem.c).
func (k *Kernel) describe(w *detect.Waiting, lock uint64, kind *lockKind) {
	switch name, off, ok := k.layout.Data(lock - k.slide); {
	case !ok || lock < kernelHalf:
		w.Lock = fmt.Sprintf("%s at %#x", kind.name, lock)
	case off == 0:
		w.Lock = name
	default: // the lock is part of a larger variable
		w.Lock = fmt.Sprintf("%s+%#x", name, off)
	}
	if !kind.owner.ok {
		return
	}
	owner, err := k.u64(lock + kind.owner.off)
	if err != nil || owner&^7 == 0 {
		return
	}
	if t, found := k.thread(owner &^ 7); found {
		k.describeOwner(w, t)
	} else {
		w.Owner = fmt.Sprintf("no thread that exists (%#x)", owner&^7)
	}
	switch {
	case kind.readers && owner&1 != 0:
		w.Owner += ", the last of its readers"
	case kind.last:
		w.Owner += ", the last that got it"
	}
}
