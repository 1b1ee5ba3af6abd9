package linux

import (
	"reflect"
	"strings"
	"testing"

	"hangbench/monitor/detect"
)

// The synthetic guest's objects that threads wait for.
const (
	objects     = direct + 56<<20
	rootSystem  = objects          // a file system that is not frozen
	dataSystem  = objects + 0x1000 // one that may be
	blockSystem = objects + 0x2000 // that of block devices
	wholeDisk   = objects + 0x3000 // bdev_inode of the disk and of its partition
	partition   = objects + 0x3200
	gendisk     = objects + 0x3800
	filesOf     = objects + 0x4000 // of process 1, and 0x1000 further of process 2
	conn        = objects + 0x6000 // of process 1, and 0x1000 further of process 2
	names       = objects + 0x8000
	diskStats   = 0x3000 // per-CPU
)

// sleeps makes a thread sleep uninterruptibly in a function, with more words on its stack.
func (g *fakeGuest) sleeps(thread int, function uint64, words ...uint64) {
	sp := g.stackAt(thread) + stackSize - 0x200
	g.u32(g.put(thread, "__state"), taskUninterruptible)
	all := []uint64{0, text + 0x3105 + g.slide, text + function + 0x105 + g.slide}
	for i := range 16 {
		v := uint64(0)
		if i < len(all) {
			v = all[i]
		} else if i-len(all) < len(words) {
			v = words[i-len(all)]
		}
		g.u64(sp+8*uint64(i), v)
	}
}

// newBusyGuest returns a guest of which the threads 1, 5, 6 and 7 wait for a grace period, a
// frozen file system, a disk and a server, which is process 2. Thread 3 waits for a mutex.
func newBusyGuest(slide uint64) *fakeGuest {
	g := newFakeGuest(slide)
	field := func(name string) uint64 { return uint64(fakeFields[name].Offset) }
	rcu := fakeSymbols["rcu_state"]
	g.u64(rcu+0x10, 42)
	g.u32(rcu+0x18, 0xffff0001) // the upper half is another field
	g.u64(rcu+0x20, g.taskAt(4))
	g.u64(rcu+0x28, 8)
	g.u64(rcu+0x30, 1000)
	g.u64(fakeSymbols["jiffies"], 1500)
	g.u64(fakeSymbols["tk_core"]+8+0x30, 4_000_000<<32|77)
	g.u64(g.stackAt(4)+stackSize-0x200, text+0x5105+slide)

	ring := func(nodes ...uint64) {
		for i, n := range nodes {
			g.u64(n, nodes[(i+1)%len(nodes)])
		}
	}
	ring(fakeSymbols["super_blocks"], rootSystem, dataSystem, blockSystem)
	g.u64(fakeSymbols["super_blocks"], rootSystem)
	g.u64(blockSystem, fakeSymbols["super_blocks"]+slide)
	for i, sb := range []uint64{rootSystem, dataSystem, blockSystem} {
		g.u64(sb+field("super_block.s_type"), names+0x100*uint64(i))
		g.u64(names+0x100*uint64(i), names+0x100*uint64(i)+0x10)
		g.write(phys(names+0x100*uint64(i)+0x10), []byte([]string{"ext4", "xfs", "bdev"}[i]))
		g.write(phys(sb+field("super_block.s_id")), []byte([]string{"xvda1", "xvdb", ""}[i]))
	}
	g.u32(dataSystem+field("super_block.s_writers.frozen"), 4)
	g.u32(rootSystem+field("super_block.s_writers.frozen"), 0xffff0000)

	g.u64(fakeSymbols["blockdev_superblock"], blockSystem)
	const inodes = 0xb0
	ring(blockSystem+inodes, wholeDisk+0x140, partition+0x140)
	for _, b := range []uint64{wholeDisk, partition} {
		g.u64(b+0x10, gendisk)
		g.u64(b+0x18, diskStats)
	}
	g.write(phys(gendisk+0xc), []byte("xvda"))
	g.u64(gendisk+0x40, wholeDisk)
	for cpu := range 2 {
		for i := range uint64(4) {
			g.u64(percpu(cpu)+diskStats+0x40+8*i, 10*uint64(cpu)+i)
		}
		g.u64(percpu(cpu)+diskStats+0x40+32, 1<<40) // another field
	}

	for i := range uint64(2) {
		files, c := filesOf+0x1000*i, conn+0x1000*i
		g.u64(g.put(int(i+1), "files"), files)
		g.u64(files+0x20, files+0x100)
		g.u32(files+0x100, 64)
		g.u64(files+0x108, files+0x200)
		for fd := range uint64(3) {
			g.u64(files+0x200+8*fd, files+0x800+0x100*fd)
		}
		g.u64(files+0x800+0x200+0x10, fakeSymbols["fuse_dev_operations"]+slide)
		g.u64(files+0x800+0x200+0x20, files+0x600+1) // a flag in the lowest bit
		g.u64(files+0x608, c)
		g.u64(files+0x610, files+0x700)
		g.u64(files+0x718, c)
	}
	g.u32(g.put(2, "__state"), taskWakeKill|taskStopped)

	g.sleeps(1, 0x9000)
	g.sleeps(5, 0xa000, dataSystem+0x50)
	g.sleeps(6, 0xb000, partition+0x1f8)
	g.sleeps(7, 0xc000, conn+0x1000+0x20)
	g.u32(g.put(7, "__state"), taskUninterruptible|taskWakeKill)
	return g
}

// busy returns what a guest's threads wait for, by their numbers.
func busy(t *testing.T, g *fakeGuest, without ...string) (detect.Kernel, map[int32]detect.Waiting) {
	t.Helper()
	k := mustOpen(t, g, without...)
	var first, out detect.Kernel
	k.Inspect(&out)
	k.Inspect(&first) // a server is searched for at the second one
	k.Inspect(&out)   // what is kept from one inspection to the next gives the same
	if !reflect.DeepEqual(first, out) {
		t.Errorf("first %+v, then %+v", first, out)
	}
	all := map[int32]detect.Waiting{}
	for _, w := range out.Waiting {
		all[w.PID] = w
	}
	return out, all
}

// TestWaits: what a thread waits for is read, in kernels of every age.
func TestWaits(t *testing.T) {
	t.Parallel()
	out, got := busy(t, newBusyGuest(slid))
	if len(out.Unreadable) > 0 {
		t.Error(out.Unreadable)
	}
	want := map[int32]detect.Waiting{
		1: {Stack: []string{"__wait_rcu_gp"}},
		3: {Stack: []string{"__mutex_lock", "do_work", "kthread"}, Comm: "waiter", Lock: "big_lock", Owner: "holder (4)",
			OwnerState: detect.OwnerSleeps, OwnerIn: "do_work"},
		5: {Stack: []string{"percpu_rwsem_wait"}, Frozen: "xfs on xvdb"},
		6: {Stack: []string{"submit_bio_wait"}, Disk: "xvda"},
		7: {Stack: []string{"request_wait_answer"}, Killable: true, Owner: "kthreadd (2)", OwnerState: detect.OwnerStopped},
	}
	for pid, w := range want {
		w.PID, w.Switches = pid, 42
		if w.Comm == "" {
			w.Comm = map[int32]string{1: "init"}[pid]
			if w.Comm == "" {
				w.Comm = "work"
			}
		}
		if !reflect.DeepEqual(got[pid], w) {
			t.Errorf("thread %d: %+v, want %+v", pid, got[pid], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d threads wait", len(got))
	}
	if want := []detect.Disk{{Name: "xvda", Completed: 6 + 46}}; !reflect.DeepEqual(out.Disks, want) {
		t.Errorf("disks %+v, want %+v", out.Disks, want)
	}
	grace := &detect.Grace{Seq: 42, Expedited: 8, AgeNS: 2e9, Asked: true, Thread: "holder (4)", ThreadSwitches: 42,
		ThreadState: detect.OwnerSleeps}
	if !reflect.DeepEqual(out.Grace, grace) {
		t.Errorf("%+v, want %+v", out.Grace, grace)
	}
	// Each of the four is read only if a thread waits for it.
	idle := newBusyGuest(slid)
	for _, thread := range []int{1, 5, 6, 7} {
		idle.u32(idle.put(thread, "__state"), 1)
	}
	if out, got := busy(t, idle); out.Grace != nil || out.Disks != nil || len(got) != 1 {
		t.Errorf("nobody waits: %+v", out)
	}
}

// TestWaitsChanged: the same guest in which one thing is otherwise.
func TestWaitsChanged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change  func(g *fakeGuest)
		without []string
		right   func(k detect.Kernel, w map[int32]detect.Waiting) bool
	}{
		"the queue leads to the semaphore": {change: func(g *fakeGuest) {
			// private, func, entry.next: the element of another thread, whose next is the head.
			g.sleeps(5, 0xa000, 0, g.taskAt(5), 0, objects+0x9000)
			g.u64(objects+0x9000, dataSystem+0x60)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "xfs on xvdb" }},
		"the queue leads elsewhere": {change: func(g *fakeGuest) {
			g.sleeps(5, 0xa000, 0, g.taskAt(5), 0, objects+0x9000)
			g.u64(objects+0x9000, objects+0x9000)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "" }},
		"another file system is frozen": {change: func(g *fakeGuest) {
			g.u32(dataSystem+0x40, 0)
			g.u32(rootSystem+0x40, 4)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "" }},
		"the list of file systems is a loop": {change: func(g *fakeGuest) { g.u64(dataSystem, rootSystem) },
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "xfs on xvdb" }},
		"no names": {without: []string{"super_block.s_type", "super_block.s_id"},
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "of an unknown kind" }},
		"file systems not known": {without: []string{"super_blocks"},
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[5].Frozen == "" }},
		"a disk of Linux 5.10": {without: []string{"block_device.bd_stats"}, change: func(g *fakeGuest) {
			g.u64(gendisk+0x40+0x28, diskStats)
		}, right: func(k detect.Kernel, w map[int32]detect.Waiting) bool {
			return w[6].Disk == "xvda" && len(k.Disks) == 1 && k.Disks[0].Completed == 52
		}},
		"a disk that has completed nothing": {change: func(g *fakeGuest) {
			for cpu := range 2 {
				g.write(phys(percpu(cpu)+diskStats+0x40), make([]byte, 32))
			}
		}, right: func(k detect.Kernel, w map[int32]detect.Waiting) bool { return k.Disks == nil && w[6].Disk == "" }},
		"the list of devices is a loop": {change: func(g *fakeGuest) { g.u64(partition+0x140, partition+0x140) },
			right: func(k detect.Kernel, _ map[int32]detect.Waiting) bool { return len(k.Disks) == 1 }},
		"disks not known": {without: []string{"blockdev_superblock"},
			right: func(k detect.Kernel, w map[int32]detect.Waiting) bool { return k.Disks == nil && w[6].Disk == "" }},
		"no disk on the stack": {change: func(g *fakeGuest) { g.sleeps(6, 0xb000, partition+0x200) },
			right: func(k detect.Kernel, w map[int32]detect.Waiting) bool { return len(k.Disks) == 1 && w[6].Disk == "" }},
		"the channels of Linux 7": {without: []string{"fuse_dev.fc"},
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[7].Owner == "kthreadd (2)" }},
		"the other server": {change: func(g *fakeGuest) { g.sleeps(7, 0xc000, conn) },
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool {
				return w[7].Owner == "init (1)" && w[7].OwnerState == detect.OwnerWaits && w[7].OwnerIn == "__wait_rcu_gp"
			}},
		"one of two servers": {change: func(g *fakeGuest) { g.sleeps(7, 0xc000) },
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[7].Owner == "" }},
		"the only server": {change: func(g *fakeGuest) {
			g.sleeps(7, 0xc000)
			g.u64(g.put(1, "files"), 0)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[7].Owner == "kthreadd (2)" }},
		"servers not known": {without: []string{"fuse_dev_operations"},
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool {
				return w[7].Owner == "" && len(w[7].Stack) == 1
			}},
		"nobody has the device open": {change: func(g *fakeGuest) {
			g.u64(g.put(1, "files"), 0)
			g.u64(g.put(2, "files"), 0)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[7].Owner == "" }},
		"RCU's thread runs": {change: func(g *fakeGuest) { g.u32(g.put(4, "__state"), 0) },
			right: func(k detect.Kernel, _ map[int32]detect.Waiting) bool {
				return k.Grace.ThreadState == detect.OwnerRuns && k.Grace.Asked
			}},
		"nobody has asked, and no such thread": {change: func(g *fakeGuest) {
			g.u32(fakeSymbols["rcu_state"]+0x18, 0xfffffffe)
			g.u64(fakeSymbols["rcu_state"]+0x20, objects)
		}, right: func(k detect.Kernel, _ map[int32]detect.Waiting) bool {
			return !k.Grace.Asked && k.Grace.Thread == "" && k.Grace.Seq == 42
		}},
		"an impossible tick": {change: func(g *fakeGuest) { g.u64(fakeSymbols["tk_core"]+8+0x30, 1<<32) },
			right: func(k detect.Kernel, _ map[int32]detect.Waiting) bool { return k.Grace.AgeNS == 0 && k.Grace.Seq == 42 }},
		"an impossible age": {change: func(g *fakeGuest) { g.u64(fakeSymbols["rcu_state"]+0x30, 1501) },
			right: func(k detect.Kernel, _ map[int32]detect.Waiting) bool { return k.Grace.AgeNS == 0 }},
		"RCU not known": {without: []string{"rcu_state"}, right: func(k detect.Kernel, w map[int32]detect.Waiting) bool {
			return k.Grace == nil && len(w) == 5 && strings.Contains(strings.Join(k.Unreadable, ""), "RCU")
		}},
		"the owner is frozen by its group": {change: func(g *fakeGuest) {
			fakeFreezer(g, 4)
		}, right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[3].OwnerState == detect.OwnerFrozen }},
		"the owner ends": {change: func(g *fakeGuest) { g.u32(g.put(4, "__state"), taskDead) },
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[3].OwnerState == detect.OwnerEnds }},
		"the owner is frozen with the guest": {change: func(g *fakeGuest) { g.u32(g.put(4, "__state"), taskFrozen) },
			right: func(_ detect.Kernel, w map[int32]detect.Waiting) bool { return w[3].OwnerState == detect.OwnerFrozen }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newBusyGuest(slid)
			if tt.change != nil {
				tt.change(g)
			}
			g.reads = 0
			k, w := busy(t, g, tt.without...)
			if !tt.right(k, w) {
				t.Errorf("%+v, %+v, %+v", k, k.Grace, w)
			}
			if g.reads > 4000 { // in three inspections
				t.Errorf("%d reads", g.reads)
			}
		})
	}
}

// fakeFreezer makes a thread sleep in its control group's freezer.
func fakeFreezer(g *fakeGuest, thread int) {
	g.u32(g.put(thread, "__state"), 1)
	g.u64(g.stackAt(thread)+stackSize-0x200, text+0xd105+g.slide)
}
