{{/*
A worker: {root, name, worker}. name is its key in values.workers, worker its settings over the defaults of its kind.
*/}}
{{- define "headrace.worker" -}}
{{- $worker := .worker -}}
{{- $component := printf "%s-worker" $worker.kind -}}
{{- $name := printf "%s-%s" $component .name -}}
{{- $scope := dict "root" .root "name" $name "component" $component -}}
{{- $ports := include "headrace.ports" $scope | fromJsonArray -}}
{{- $gpus := int ($worker.gpus | default (ternary 1 0 (has $worker.kind (list "vllm" "trt")))) -}}
{{- $engine := has $worker.kind (list "vllm" "trt") -}}
{{- $image := ternary (printf "%s-cuda" $component) $component (and (eq $worker.kind "bert") (gt $gpus 0)) -}}
{{- $drain := $worker.drainSeconds | default 120 -}}
{{- $autoscaling := $worker.autoscaling | default (dict "mode" "none") -}}
{{- $settings := merge (dict "model" (printf "/model/%s" $worker.model) "name" ($worker.pool | default $worker.model) "drain_timeout" $drain) ($worker.settings | default dict) -}}
{{- $config := dict $worker.kind $settings -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
data:
  headrace.yaml: |
    {{- toYaml $config | nindent 4 }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
  {{- if ne $autoscaling.mode "none" }}
  annotations: { headrace.io/autoscaled: "true" }
  {{- end }}
spec:
  {{- if eq $autoscaling.mode "none" }}
  replicas: {{ if hasKey $worker "replicas" }}{{ $worker.replicas }}{{ else }}1{{ end }}
  {{- end }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: {{ max 1800 (add 600 ($worker.startupSeconds | default 1800)) }}
  # There is no spare GPU for a surge: one goes, then one comes.
  strategy:
    rollingUpdate: { maxSurge: 0, maxUnavailable: 1 }
  selector:
    matchLabels: {{- include "headrace.selector" $scope | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "headrace.podLabels" $scope | nindent 8 }}
        headrace.io/worker: {{ .name }}
      annotations:
        checksum/config: {{ toYaml $config | sha256sum }}
        {{- with .root.Values.pod.annotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: worker
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "headrace.grace" (dict "drain" $drain) }}
      securityContext: {{- include "headrace.podSecurity" . | nindent 8 }}
      {{- include "headrace.pullSecrets" . | nindent 6 }}
      topologySpreadConstraints: {{- include "headrace.spread" $scope | nindent 8 }}
      {{- $tolerations := $worker.tolerations | default list }}
      {{- if gt $gpus 0 }}
      {{- $tolerations = append $tolerations (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") }}
      {{- end }}
      {{- include "headrace.placement" (dict "root" .root "nodeSelector" $worker.nodeSelector "tolerations" $tolerations "priorityClassName" $worker.priorityClassName) | nindent 6 }}
      {{- if and .root.Values.modelStore.nodeLabels (has .root.Values.modelStore.type (list "hostPathPV" "hostPath")) }}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - { key: model.headrace.io/{{ $worker.model }}, operator: Exists }
      {{- end }}
      containers:
        - name: worker
          image: {{ include "headrace.image" (dict "root" .root "image" $image) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [--config, /etc/headrace/headrace.yaml]
          env:
            {{- include "headrace.hopEnv" (dict "root" .root "section" $worker.kind) | nindent 12 }}
            {{- with $worker.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - { name: http, containerPort: {{ index $ports 0 }} }
            - { name: ops, containerPort: {{ index $ports 1 }} }
          {{- include "headrace.probes" (dict "path" "/readyz" "startup" ($worker.startupSeconds | default 1800)) | nindent 10 }}
          lifecycle: {{- include "headrace.lifecycle" . | nindent 12 }}
          resources: {{- include "headrace.workerResources" (dict "resources" ($worker.resources | default dict) "gpus" $gpus) | nindent 12 }}
          securityContext: {{- include "headrace.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - { name: model, mountPath: /model, readOnly: true }
            - { name: config, mountPath: /etc/headrace, readOnly: true }
            - { name: state, mountPath: /var/lib/headrace }
            - { name: tmp, mountPath: /tmp }
            {{- if $engine }}
            - { name: shm, mountPath: /dev/shm }
            {{- end }}
      volumes:
        {{- include "headrace.modelVolume" . | nindent 8 }}
        - { name: config, configMap: { name: {{ $name }} } }
        # HOME and the engines' caches of compiled kernels.
        - { name: state, emptyDir: { sizeLimit: {{ $worker.cacheSize | default "8Gi" }} } }
        - { name: tmp, emptyDir: { sizeLimit: 2Gi } }
        {{- if $engine }}
        - { name: shm, emptyDir: { medium: Memory, sizeLimit: {{ $worker.shm | default "8Gi" }} } }
        {{- end }}
---
{{ include "headrace.pdb" $scope }}
{{- if ne $autoscaling.mode "none" }}
---
{{ include "headrace.autoscaler" (dict "root" .root "name" $name "component" $component "autoscaling" $autoscaling "pool" $settings.name) }}
{{- end }}
{{- end }}

{{/* {resources, gpus}: GPUs are named in limits alone, which Kubernetes takes for the request too. */}}
{{- define "headrace.workerResources" -}}
{{- $limits := .resources.limits | default dict -}}
{{- if gt .gpus 0 -}}{{- $limits = merge (dict "nvidia.com/gpu" (toString .gpus)) $limits -}}{{- end -}}
{{- with .resources.requests -}}
requests: {{- toYaml . | nindent 2 }}
{{ end -}}
limits: {{- toYaml $limits | nindent 2 }}
{{- end }}
