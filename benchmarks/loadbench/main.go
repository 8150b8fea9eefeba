// loadbench measures what a gateway costs: a mock OpenAI worker and a load generator in one binary.
//
//	loadbench worker -addr 127.0.0.1:9001 -tokens 128 -interval 0
//	loadbench load   -url http://127.0.0.1:8000/v1/chat/completions -model m -c 32 -n 5000 -stream -key sk-... -pids 123,124
//
// The worker answers " tok0 tok1 …" and continues a final assistant message (continue_final_message), so -check can
// prove that a stream which changed workers on the way is complete and unbroken.
//
// load prints one JSON line: requests/s, chunks/s, latency percentiles (ms), errors, and, with -pids, the CPU
// microseconds that those process trees spent, each by itself and all together per request and per SSE chunk (robust
// on a noisy machine).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: loadbench worker|load [flags]")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "worker":
		worker(os.Args[2:])
	case "load":
		load(os.Args[2:])
	default:
		os.Exit(2)
	}
}

// ---- mock worker ----

type chatRequest struct {
	Model               string `json:"model"`
	Stream              bool   `json:"stream"`
	MaxTokens           int    `json:"max_tokens"`
	MaxCompletionTokens int    `json:"max_completion_tokens"`
	Messages            []struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	} `json:"messages"`
	ContinueFinalMessage bool `json:"continue_final_message"`
}

func worker(args []string) {
	fs := flag.NewFlagSet("worker", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:9001", "listen address")
	model := fs.String("model", "mock", "model name")
	tokens := fs.Int("tokens", 64, "default completion tokens")
	interval := fs.Duration("interval", 0, "pause between tokens")
	ttft := fs.Duration("ttft", 0, "pause before the first token")
	count := fs.Int("count", 1, "listen so many times, each time with another port where -addr has port 0; the addresses are printed")
	fs.Parse(args)
	var running, total atomic.Int64
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) }
	mux.HandleFunc("/health", ok)
	mux.HandleFunc("/health/live", ok)
	mux.HandleFunc("/health/ready", ok)
	mux.HandleFunc("/v1/models", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"object":"model","created":1,"owned_by":"vllm","max_model_len":1000000}]}`, *model)
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name=%q} %d\n", *model, running.Load())
		fmt.Fprintf(w, "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name=%q} 0\n", *model)
		fmt.Fprintf(w, "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{model_name=%q} 0.1\n", *model)
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%d\n", total.Load()) })
	chat := func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		total.Add(1)
		defer running.Add(-1)
		body, _ := io.ReadAll(r.Body)
		var q chatRequest
		if json.Unmarshal(body, &q) != nil {
			http.Error(w, `{"error":{"message":"bad json"}}`, 400)
			return
		}
		n := *tokens
		if q.MaxCompletionTokens > 0 {
			n = q.MaxCompletionTokens
		} else if q.MaxTokens > 0 {
			n = q.MaxTokens
		}
		prompt := 0
		for _, m := range q.Messages {
			if text, ok := m.Content.(string); ok {
				prompt += len(strings.Fields(text))
			}
		}
		// The answer is always " tok0 tok1 …": a continuation goes on after the tokens that the last message holds.
		first := 0
		if k := len(q.Messages); q.ContinueFinalMessage && k > 0 && q.Messages[k-1].Role == "assistant" {
			if text, ok := q.Messages[k-1].Content.(string); ok {
				first = strings.Count(text, "tok")
			}
		}
		if *ttft > 0 {
			time.Sleep(*ttft)
		}
		if !q.Stream {
			time.Sleep(time.Duration(n) * *interval)
			w.Header().Set("content-type", "application/json")
			fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"hello there, this is a mock answer"},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, q.Model, prompt, n, n+prompt)
			return
		}
		w.Header().Set("content-type", "text/event-stream; charset=utf-8")
		w.WriteHeader(200)
		f := w.(http.Flusher)
		f.Flush()
		var b bytes.Buffer
		for i := 0; i < n; i++ {
			b.Reset()
			fmt.Fprintf(&b, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\" tok%d\"},\"finish_reason\":null}]}\n\n", q.Model, first+i)
			if _, err := w.Write(b.Bytes()); err != nil {
				return
			}
			f.Flush()
			if *interval > 0 {
				time.Sleep(*interval)
			}
			select {
			case <-r.Context().Done():
				return
			default:
			}
		}
		fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", q.Model)
		fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":%q,\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n", q.Model, prompt, n, n+prompt)
		f.Flush()
	}
	mux.HandleFunc("/tokenize", func(w http.ResponseWriter, r *http.Request) { // one word is one token
		var q struct {
			Prompt   string `json:"prompt"`
			Messages []struct {
				Content string `json:"content"`
			} `json:"messages"`
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, `{"error":{"message":"bad json"}}`, 400)
			return
		}
		n := len(strings.Fields(q.Prompt))
		for _, m := range q.Messages {
			n += len(strings.Fields(m.Content))
		}
		w.Header().Set("content-type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"count": n, "max_model_len": 1000000, "tokens": make([]int, n)})
	})
	mux.HandleFunc("/v1/chat/completions", chat)
	mux.HandleFunc("/v1/completions", chat)
	for i := 0; i < *count; i++ {
		l, err := net.Listen("tcp", *addr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(l.Addr())
		go http.Serve(l, mux)
	}
	select {}
}

// ---- load generator ----

type result struct {
	ttfb, total time.Duration
	chunks      int
	err         string
}

// checkText reports the first place where a streamed answer is not " tok0 tok1 …" without gap or repeat.
func checkText(text string, want int) string {
	var b strings.Builder
	for i := 0; i < want; i++ {
		fmt.Fprintf(&b, " tok%d", i)
	}
	if text != b.String() {
		return fmt.Sprintf("text differs: %d characters, want %d", len(text), b.Len())
	}
	return ""
}

func load(args []string) {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	url := fs.String("url", "", "target")
	model := fs.String("model", "mock", "model")
	c := fs.Int("c", 32, "concurrent clients")
	n := fs.Int("n", 2000, "requests")
	stream := fs.Bool("stream", false, "stream")
	key := fs.String("key", "", "bearer key")
	keyFile := fs.String("keys", "", "file of bearer keys, one a line, that take turns")
	rate := fs.Float64("rate", 0, "begin so many requests a second at most; 0: as fast as they are answered")
	headers := map[string]string{}
	fs.Func("header", "a further header, as name:value; may be given again", func(text string) error {
		name, value, _ := strings.Cut(text, ":")
		headers[name] = value
		return nil
	})
	tokens := fs.Int("tokens", 0, "max_tokens to ask for")
	prompt := fs.Int("prompt", 200, "prompt words")
	pids := fs.String("pids", "", "comma-separated pids whose trees' CPU to count")
	timeout := fs.Duration("timeout", 60*time.Second, "per request")
	check := fs.Bool("check", false, "check that every streamed text is complete and unbroken (with -tokens)")
	fs.Parse(args)
	tr := &http.Transport{MaxIdleConnsPerHost: *c, MaxConnsPerHost: *c, DisableCompression: true}
	client := &http.Client{Transport: tr, Timeout: *timeout}
	text := strings.Repeat("lorem ipsum dolor sit amet ", *prompt/5)
	body := map[string]any{"model": *model, "stream": *stream, "messages": []map[string]string{
		{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}}}
	if *tokens > 0 {
		body["max_tokens"] = *tokens
	}
	if *stream {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	payload, _ := json.Marshal(body)
	keys := []string{*key}
	if *keyFile != "" {
		text, err := os.ReadFile(*keyFile)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		keys = strings.Fields(string(text))
	}
	var turn atomic.Int64
	one := func() result {
		t0 := time.Now()
		req, _ := http.NewRequest("POST", *url, bytes.NewReader(payload))
		req.Header.Set("content-type", "application/json")
		if key := keys[int(turn.Add(1))%len(keys)]; key != "" {
			req.Header.Set("authorization", "Bearer "+key)
		}
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return result{err: err.Error()}
		}
		defer resp.Body.Close()
		r := result{ttfb: time.Since(t0)}
		if resp.StatusCode != 200 {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
			r.err = fmt.Sprintf("%d %s", resp.StatusCode, b)
			return r
		}
		if !*stream {
			if _, err = io.Copy(io.Discard, resp.Body); err != nil {
				r.err = err.Error()
			}
			r.total = time.Since(t0)
			return r
		}
		br := bufio.NewReaderSize(resp.Body, 64<<10)
		done := false
		var text strings.Builder
		for {
			line, err := br.ReadSlice('\n')
			if bytes.HasPrefix(line, []byte("data: ")) {
				if r.chunks == 0 {
					r.ttfb = time.Since(t0)
				}
				r.chunks++
				if *check {
					var c struct {
						Choices []struct {
							Delta struct {
								Content string `json:"content"`
							} `json:"delta"`
						} `json:"choices"`
						Error any `json:"error"`
					}
					if json.Unmarshal(line[6:], &c) == nil {
						if c.Error != nil {
							r.err = "error event: " + string(line)
							return r
						}
						for _, ch := range c.Choices {
							text.WriteString(ch.Delta.Content)
						}
					}
				}
				if bytes.HasPrefix(line, []byte("data: [DONE]")) {
					done = true
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				r.err = err.Error()
				return r
			}
		}
		if !done {
			r.err = "stream ended without [DONE]"
		}
		if *check && r.err == "" {
			r.err = checkText(text.String(), *tokens)
		}
		r.total = time.Since(t0)
		return r
	}
	for i, t := 0, time.Now(); i < 50 && i < *n && time.Since(t) < time.Second; i++ { // warm up
		one()
	}
	cpu0 := cpuTimes(*pids)
	var next atomic.Int64
	results := make([]result, *n)
	var wg sync.WaitGroup
	t0 := time.Now()
	for w := 0; w < *c; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := next.Add(1) - 1
				if i >= int64(*n) {
					return
				}
				if *rate > 0 {
					time.Sleep(time.Until(t0.Add(time.Duration(float64(i) / *rate * float64(time.Second)))))
				}
				results[i] = one()
			}
		}()
	}
	wg.Wait()
	wall := time.Since(t0).Seconds()
	cpu, trees := 0.0, map[string]float64{}
	for pid, ns := range cpuTimes(*pids) {
		trees[pid] = round(float64(ns-cpu0[pid]) / 1e3)
		cpu += float64(ns-cpu0[pid]) / 1e3
	}
	var ttfb, total []float64
	chunks, errs := 0, 0
	first := ""
	for _, r := range results {
		if r.err != "" {
			errs++
			if first == "" {
				first = r.err
			}
			continue
		}
		chunks += r.chunks
		ttfb = append(ttfb, float64(r.ttfb.Microseconds())/1000)
		total = append(total, float64(r.total.Microseconds())/1000)
	}
	out := map[string]any{"requests": *n, "chunks": chunks, "errors": errs, "rps": round(float64(*n-errs) / wall), "chunks_per_s": round(float64(chunks) / wall),
		"ttfb_ms": pct(ttfb), "total_ms": pct(total), "wall_s": round(wall)}
	if first != "" {
		out["first_error"] = first
	}
	if *pids != "" {
		out["cpu_us"] = trees
		out["cpu_us_per_request"] = round(cpu / float64(*n))
		if chunks > 0 {
			out["cpu_us_per_chunk"] = float64(int(cpu/float64(chunks)*100)) / 100
		}
	}
	b, _ := json.Marshal(out)
	fmt.Println(string(b))
}

func round(x float64) float64 { return float64(int(x*10)) / 10 }

func pct(v []float64) map[string]float64 {
	if len(v) == 0 {
		return nil
	}
	sort.Float64s(v)
	at := func(p float64) float64 { return v[int(p*float64(len(v)-1))] }
	return map[string]float64{"p50": at(.5), "p90": at(.9), "p99": at(.99), "max": v[len(v)-1]}
}

// cpuTimes sums, for each pid, the CPU nanoseconds of it and all its descendants.
func cpuTimes(pids string) map[string]int64 {
	times := map[string]int64{}
	if pids == "" {
		return times
	}
	children := map[int][]int{}
	own := map[int]int64{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil {
			continue
		}
		s := string(b)
		pid, _ := strconv.Atoi(s[:strings.IndexByte(s, ' ')])
		f := strings.Fields(s[strings.LastIndexByte(s, ')')+2:])
		ppid, _ := strconv.Atoi(f[1])
		children[ppid] = append(children[ppid], pid)
		own[pid] = cpuTime(pid, f)
	}
	for _, p := range strings.Split(pids, ",") {
		root, err := strconv.Atoi(strings.TrimSpace(p))
		if err != nil {
			continue
		}
		seen := map[int]bool{}
		var walk func(int) int64
		walk = func(p int) int64 {
			if seen[p] {
				return 0
			}
			seen[p] = true
			sum := own[p]
			for _, c := range children[p] {
				sum += walk(c)
			}
			return sum
		}
		times[strconv.Itoa(root)] = walk(root)
	}
	return times
}

// cpuTime asks the scheduler of each thread: the 10 ms ticks of stat's utime+stime are too coarse for short rounds.
// They are what is left where the kernel keeps no schedstat.
func cpuTime(pid int, stat []string) int64 {
	var sum int64
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", pid))
	for _, t := range threads {
		if b, err := os.ReadFile(t); err == nil {
			on, _, _ := strings.Cut(string(b), " ")
			ns, _ := strconv.ParseInt(on, 10, 64)
			sum += ns
		}
	}
	if sum > 0 {
		return sum
	}
	u, _ := strconv.ParseInt(stat[11], 10, 64)
	st, _ := strconv.ParseInt(stat[12], 10, 64)
	return (u + st) * 10_000_000 // USER_HZ is 100
}
