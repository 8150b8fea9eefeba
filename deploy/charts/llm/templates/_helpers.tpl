{{/* Names, labels and what every pod has in common. Each takes a dict with "root" and what else it names. */}}

{{/* The image of a component: {root, image}. */}}
{{- define "headrace.image" -}}
{{- $own := get .root.Values.images .image | default dict -}}
{{- $name := $own.name | default (printf "%s/%s" (trimSuffix "/" .root.Values.image.registry) .image) -}}
{{ printf "%s:%s" $name ($own.tag | default (printf "v%s" .root.Chart.AppVersion)) }}
{{- end }}

{{/* {root, name, component}: name is the Deployment's, component what services and policies select. */}}
{{- define "headrace.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "headrace.labels" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/part-of: headrace
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* {root}: pods of Headrace, of whatever component. */}}
{{- define "headrace.all" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: headrace
{{- end }}

{{/* Labels of a pod: {root, name, component}. */}}
{{- define "headrace.podLabels" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/part-of: headrace
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- with .root.Values.pod.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod's side of the restricted Pod Security Standard. */}}
{{- define "headrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The container's side of it. */}}
{{- define "headrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Seconds that a pod is still sent requests after it was told to end, until everyone knows. */}}
{{- define "headrace.preStop" -}}15{{- end }}

{{/* {drain}: seconds for requests that run. Grace is preStop + drain + 15 to close everything. */}}
{{- define "headrace.grace" -}}{{ add (include "headrace.preStop" . | int) .drain 15 }}{{- end }}

{{- define "headrace.lifecycle" -}}
preStop:
  sleep: { seconds: {{ include "headrace.preStop" . }} }
{{- end }}

{{/* {path, startup}: /livez is the process alone, /readyz that it can take requests; startup in seconds. */}}
{{- define "headrace.probes" -}}
startupProbe:
  httpGet: { path: {{ .path }}, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add .startup 4) 5 }}
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* {root, name, component}: over nodes, also while a rollout mixes two versions. */}}
{{- define "headrace.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "headrace.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}

{{/* {root, selector?, tolerations?}: where a pod may run. */}}
{{- define "headrace.placement" -}}
{{- with merge (dict) (.nodeSelector | default dict) .root.Values.pod.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (.tolerations | default list) .root.Values.pod.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName | default .root.Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "headrace.pullSecrets" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* {root, section}: the hop secret, for a section of the configuration. */}}
{{- define "headrace.hopEnv" -}}
- name: HEADRACE_{{ upper .section }}_HOP_SECRET
  valueFrom: { secretKeyRef: { name: {{ .root.Values.secrets.hop }}, key: secret } }
- name: HEADRACE_{{ upper .section }}_HOP_SECRET_PREVIOUS
  valueFrom: { secretKeyRef: { name: {{ .root.Values.secrets.hop }}, key: previous, optional: true } }
{{- end }}

{{/* Port 80 would need a privilege that nobody has here: the ports of docs/architecture.md. */}}
{{- define "headrace.ports" -}}
{{- $ports := dict "llm-web" (list 8080 9180) "llm-api" (list 8000 9100) "router" (list 8001 9101) "bert-worker" (list 8010 9110) "vllm-worker" (list 8020 9120) "trt-worker" (list 8030 9130) "cpu-worker" (list 8040 9140) -}}
{{ get $ports .component | toJson }}
{{- end }}

{{/* Name of the claim that holds /model. */}}
{{- define "headrace.modelClaim" -}}
{{- if eq .root.Values.modelStore.type "pvc" -}}{{ .root.Values.modelStore.claim }}{{- else -}}model-store{{- end -}}
{{- end }}

{{/* The volume "model". */}}
{{- define "headrace.modelVolume" -}}
{{- $store := .root.Values.modelStore -}}
- name: model
{{- if eq $store.type "hostPath" }}
  hostPath: { path: {{ $store.path }}, type: Directory }
{{- else if eq $store.type "image" }}
  image: { reference: {{ $store.reference | quote }}, pullPolicy: IfNotPresent }
{{- else }}
  persistentVolumeClaim: { claimName: {{ include "headrace.modelClaim" . }}, readOnly: true }
{{- end }}
{{- end }}
