package linux

import (
	"encoding/binary"
	"slices"
)

// serverFields are what is read of the programs that serve file systems (FUSE).
type serverFields struct {
	operations                                   uint64 // the address of fuse_dev_operations, slid; 0 if absent
	files, table, slots, most, op, private, conn place
	channel, channelConn                         place // since 7.x the device has a channel, and that the connection
	connSize                                     uint64
}

// serverNeed is the need of servers.
func serverNeed() Need {
	all := []string{"symbol fuse_dev_operations", "task_struct.files", "files_struct.fdt", "fdtable.fd", "fdtable.max_fds",
		"file.f_op", "file.private_data", "fuse_conn"}
	with := func(more ...string) []string { return append(append([]string{}, all...), more...) }
	return Need{
		What:    "the programs that serve file systems (FUSE, built in)",
		Ways:    [][]string{with("fuse_dev.fc"), with("fuse_dev.chan", "fuse_chan.conn")},
		Without: "blocked: a thread that waits for such a program is not known as one, or the evidence lacks the program",
	}
}

// findServers fills k.serversAt.
func (k *Kernel) findServers() {
	size, ok := k.layout.SizeOf("fuse_conn")
	s := &k.serversAt
	*s = serverFields{
		operations: k.variable("fuse_dev_operations"), files: k.fieldOf("task_struct", "files"),
		table: k.fieldOf("files_struct", "fdt"), slots: k.fieldOf("fdtable", "fd"), most: k.fieldOf("fdtable", "max_fds"),
		op: k.fieldOf("file", "f_op"), private: k.fieldOf("file", "private_data"), conn: k.fieldOf("fuse_dev", "fc"),
		channel: k.fieldOf("fuse_dev", "chan"), channelConn: k.fieldOf("fuse_chan", "conn"), connSize: uint64(size),
	}
	for _, p := range []place{s.files, s.table, s.slots, s.most, s.op, s.private} {
		ok = ok && p.ok
	}
	if !ok || !s.conn.ok && !(s.channel.ok && s.channelConn.ok) || s.connSize > 1<<16 {
		s.operations = 0
	}
}

const (
	// maxSlots bounds how many open files of a process are looked at, the first.
	maxSlots = 256
	// maxFiles bounds how many open files of all processes are.
	maxFiles = 1 << 14
	// maxServers bounds how many servers are told apart.
	maxServers = 16
	// fuseFlags are the lowest bits of a file's private data, which are no part of the
	// address (fs/fuse/fuse_dev_i.h).
	fuseFlags = 7
)

// server is a process that has the device of a connection open.
type server struct {
	conn uint64 // address of its fuse_conn
	task uint64 // of its first thread
}

// serverOf returns the process that must answer a thread with these words on its stack: the
// one that has the device of the connection open whose address is among them. If none is
// and only one connection has a server, it returns that server. It returns nil if there is
// none.
func (k *Kernel) serverOf(words []uint64) *task {
	k.readServers()
	all := k.seen.servers
	i := slices.IndexFunc(all, func(s server) bool {
		return slices.ContainsFunc(words, func(v uint64) bool { return v >= s.conn && v < s.conn+k.serversAt.connSize })
	})
	if i < 0 && len(all) == 1 {
		i = 0
	}
	if i < 0 {
		return nil
	}
	t, _ := k.thread(all[i].task)
	return t
}

// readServers finds the servers, at most maxServers, once an inspection.
func (k *Kernel) readServers() {
	s := &k.serversAt
	if k.seen.serversRead || s.operations == 0 {
		return
	}
	k.seen.serversRead = true
	budget := maxFiles
	var before uint64 // the open files of the last thread: threads of a process share them
	for i := range k.tasks {
		t := &k.tasks[i]
		if t.walk != k.walks {
			continue
		}
		files, err := k.u64(t.addr + s.files.off)
		if err != nil || files < kernelHalf || files == before {
			continue
		}
		before = files
		k.eachConn(files, &budget, func(conn uint64) {
			known := slices.ContainsFunc(k.seen.servers, func(s server) bool { return s.conn == conn })
			if !known && len(k.seen.servers) < maxServers {
				k.seen.servers = append(k.seen.servers, server{conn, t.addr})
			}
		})
		if budget <= 0 {
			break
		}
	}
}

// eachConn calls found for each connection of FUSE whose device is among some open files.
func (k *Kernel) eachConn(files uint64, budget *int, found func(conn uint64)) {
	s := &k.serversAt
	table, err := k.u64(files + s.table.off)
	if err != nil || table < kernelHalf {
		return
	}
	most, err := k.u32(table + s.most.off)
	if err != nil {
		return
	}
	slots, err := k.u64(table + s.slots.off)
	if err != nil || slots < kernelHalf {
		return
	}
	var all [maxSlots]uint64
	n := min(int(most), maxSlots)
	b := k.reader.span[:8*n]
	if n <= 0 || k.read(slots, b) != nil {
		return
	}
	for i := range n {
		all[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	for _, file := range all[:n] {
		if file < kernelHalf {
			continue
		}
		if *budget--; *budget < 0 {
			return
		}
		if op, err := k.u64(file + s.op.off); err != nil || op != s.operations {
			continue
		}
		if conn, ok := k.connOf(file); ok {
			found(conn)
		}
	}
}

// connOf returns the connection of an open device of FUSE.
func (k *Kernel) connOf(file uint64) (uint64, bool) {
	s := &k.serversAt
	at, err := k.u64(file + s.private.off)
	path := []place{s.conn}
	if !s.conn.ok {
		path = []place{s.channel, s.channelConn}
	}
	for _, p := range path {
		if at &^= fuseFlags; err != nil || at < kernelHalf {
			return 0, false
		}
		at, err = k.u64(at + p.off)
	}
	return at, err == nil && at >= kernelHalf
}
