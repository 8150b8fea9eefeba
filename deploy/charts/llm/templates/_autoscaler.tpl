{{/*
{root, name, component, autoscaling, pool}: what changes the number of pods. cpu: HPA on CPU. queue: HPA on the router's
queue, by an adapter that serves it as an external metric. keda: the same by KEDA, which can start from none.
*/}}
{{- define "headrace.autoscaler" -}}
{{- $scaling := .autoscaling -}}
{{- if eq $scaling.mode "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { name: {{ .name }} }
  minReplicaCount: {{ $scaling.min }}
  maxReplicaCount: {{ $scaling.max }}
  pollingInterval: 15
  # Longer than a model takes to load: else its pod is taken away before it was ready (KEDA counts from the last trigger).
  cooldownPeriod: {{ $scaling.cooldownSeconds | default 1800 }}
  {{- if gt (int $scaling.min) 0 }}
  fallback: { failureThreshold: 4, replicas: {{ $scaling.min }} }
  {{- end }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- include "headrace.scalingBehavior" . | nindent 8 }}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: {{ $scaling.prometheus | quote }}
        query: sum(llm_router_queue_depth{pool={{ .pool | quote }}, namespace={{ .root.Release.Namespace | quote }}}) or vector(0)
        threshold: {{ $scaling.target | quote }}
        activationThreshold: "0"
{{- else -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ .name }} }
  minReplicas: {{ $scaling.min }}
  maxReplicas: {{ $scaling.max }}
  metrics:
    {{- if eq $scaling.mode "cpu" }}
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ $scaling.target }} }
    {{- else }}
    - type: External
      external:
        metric:
          name: llm_router_queue_depth
          selector:
            matchLabels: { pool: {{ .pool }} }
        target: { type: AverageValue, averageValue: {{ $scaling.target | quote }} }
    {{- end }}
  behavior: {{- include "headrace.scalingBehavior" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Up at once; down slowly, since every pod that goes takes its cache along. */}}
{{- define "headrace.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
scaleDown:
  stabilizationWindowSeconds: 600
  policies:
    - { type: Pods, value: 1, periodSeconds: 300 }
{{- end }}
