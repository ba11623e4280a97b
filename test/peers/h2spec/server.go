package main

import (
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// The last frames of both ends that are remembered of a connection.
const remembered = 24

// Of RFC 9113 section 6.5.2.
const (
	defaultWindow   = 65_535
	defaultMaxFrame = 16_384
)

// server is what the server has said on one connection: the windows that it gives, and words for a case that fails.
type server struct {
	mutex    sync.Mutex
	changed  *sync.Cond
	began    time.Time
	words    []string
	ended    bool
	initial  int64
	maxFrame int64
	// By stream: what WINDOW_UPDATE added, less what DATA took. Stream 0 is the connection.
	room  map[uint32]int64
	reset map[uint32]bool
}

func newServer() *server {
	s := &server{
		began: time.Now(), initial: defaultWindow, maxFrame: defaultMaxFrame,
		room: map[uint32]int64{}, reset: map[uint32]bool{},
	}
	s.changed = sync.NewCond(&s.mutex)
	return s
}

// note remembers a frame or an end, with the milliseconds since the connection began.
func (s *server) note(format string, values ...any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	word := fmt.Sprintf("%d ms %s", time.Since(s.began).Milliseconds(), fmt.Sprintf(format, values...))
	s.words = append(s.words, word)
	if len(s.words) > remembered {
		s.words = s.words[len(s.words)-remembered:]
	}
}

func (s *server) said() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string{}, s.words...)
}

// copy carries what the server says from `from` to `to`, and reads along.
func (s *server) copy(to io.Writer, from io.Reader) {
	along := io.TeeReader(from, to)
	framer := http2.NewFramer(io.Discard, along)
	framer.AllowIllegalReads = true
	framer.SetMaxReadFrameSize(1<<24 - 1)
	var err error
	for {
		var frame http2.Frame
		if frame, err = framer.ReadFrame(); err != nil {
			break
		}
		s.note("server: %v", frame.Header())
		s.heed(frame)
	}
	s.note("server: %v", err)
	// No frame: the rest is for h2spec to judge. After an end there is no rest.
	io.Copy(io.Discard, along)
	s.mutex.Lock()
	s.ended = true
	s.mutex.Unlock()
	s.changed.Broadcast()
}

func (s *server) heed(frame http2.Frame) {
	header := frame.Header()
	s.mutex.Lock()
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if value, ok := frame.Value(http2.SettingInitialWindowSize); ok {
			s.initial = int64(value)
		}
		if value, ok := frame.Value(http2.SettingMaxFrameSize); ok {
			s.maxFrame = int64(value)
		}
	case *http2.WindowUpdateFrame:
		s.room[header.StreamID] += int64(frame.Increment)
	case *http2.RSTStreamFrame:
		s.reset[header.StreamID] = true
	}
	s.mutex.Unlock()
	if frame, ok := frame.(*http2.GoAwayFrame); ok {
		s.note("server: its GOAWAY says %v", frame.ErrCode)
	}
	s.changed.Broadcast()
}

// takeRoom waits until the windows of the connection and of the stream have room for a DATA frame's payload, and takes it: a sender
// must not exceed either (RFC 9113 section 6.9.1), but h2spec keeps no account of them. Its case http2/4.2/1 sends the largest frame that the
// server takes, 1 MiB with Orlop, behind a request that has a window of 65,535 bytes until it is answered: without the wait the case
// fails when the answer is not there before the frame. Where the server has reset the stream or ended the connection, or the frame
// is larger than any may be, the frame is h2spec's question to the server, and does not wait.
func (s *server) takeRoom(stream uint32, length int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for length > 0 && length <= s.maxFrame && !s.ended && !s.reset[stream] {
		room := s.initial + s.room[stream]
		if stream == 0 {
			room = math.MaxInt64
		}
		if length <= room && length <= defaultWindow+s.room[0] {
			break
		}
		s.changed.Wait()
	}
	s.room[stream] -= length
	if stream != 0 {
		s.room[0] -= length
	}
}
